"""Reads and replaces the user's files.

A file is replaced whole or not at all, and only while it is what the caller last read. The original
is not kept here: that is the vault's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import BinaryIO

MAX_REPLACED_BYTES = 64 * 1024**2
_CHUNK_BYTES = 1024**2


class Changed(Exception):
    """The file is not what it was when the replacement was planned; it was left as it is."""


class FileRefused(OSError):
    """The file is none that is read here: no regular file, or larger than the bound."""


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes`.

    Raises OSError, and FileRefused, which is one, for anything else than such a file.
    """
    descriptor = open_regular(path)
    try:
        return _read(descriptor, path, max_bytes)
    finally:
        os.close(descriptor)


def sha256(data: bytes) -> str:
    """The hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_of(file: BinaryIO) -> str:
    """The hexadecimal SHA-256 of all of an open file, read in chunks."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def replace_file(path: Path, new: bytes, expected_sha256: str) -> str:
    """Put `new` in the place of a file whose content has `expected_sha256`; `new`'s own hash.

    Links are followed and stay links; owner, mode and extended attributes are kept. Raises Changed
    where the content is another, OSError where it cannot be done; in both cases, and at a crash at
    any moment, the file is whole.
    """
    target = Path(os.path.realpath(path, strict=True))
    temporary = target.with_name(f".{target.name[:200]}.yolowatch-{secrets.token_hex(4)}")
    descriptor = open_regular(target)
    try:
        before = os.fstat(descriptor)
        if sha256(_read(descriptor, target, MAX_REPLACED_BYTES)) != expected_sha256:
            raise Changed(f"{path} was changed by somebody else")
        _write_like(temporary, new, before, descriptor)
        now = os.stat(target, follow_symlinks=False)
        if _identity(now) != _identity(before):
            raise Changed(f"{path} was changed by somebody else just now")
        os.replace(temporary, target)
    finally:
        os.close(descriptor)
        remove(temporary)  # where it was renamed there is none
    sync_directory(target.parent)
    return sha256(new)


def open_regular(path: Path, flags: int = 0) -> int:
    """A descriptor to read a regular file with, which is never waited for as a pipe would be."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileRefused(f"{path} is no regular file")
    return descriptor


def sync_directory(path: Path) -> None:
    """Make the names in a directory outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_ownership(descriptor: int, like: os.stat_result) -> None:
    """Give an open file the owner and mode of another; raises OSError where that is not allowed."""
    mine = os.fstat(descriptor)
    if (mine.st_uid, mine.st_gid) != (like.st_uid, like.st_gid):
        os.fchown(descriptor, like.st_uid, like.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(like.st_mode))


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`: a single write may stop short."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def create(path: Path) -> int:
    """A descriptor of a new private file; whatever has the name already is refused."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def keep(path: Path, data: bytes, *, synced: bool = False) -> None:
    """Put `data` into a private file of our own, whole or not at all; raises OSError.

    `synced`: it outlives a power cut, too. Only one may write there at a time.
    """
    new = path.with_name(f"{path.name}.new")
    remove(new)
    descriptor = create(new)
    try:
        try:
            write_all(descriptor, data)
            if synced:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(new, path)
    except OSError:
        remove(new)
        raise
    if synced:
        sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove a file of our own, if it is there and as far as that is possible."""
    with contextlib.suppress(OSError):
        path.unlink()


def _write_like(temporary: Path, new: bytes, like: os.stat_result, source: int) -> None:
    """A new, synced file with the owner, mode and attributes of another."""
    descriptor = create(temporary)
    try:
        write_all(descriptor, new)
        _copy_attributes(source, descriptor)
        copy_ownership(descriptor, like)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_attributes(source: int, target: int) -> None:
    # Access lists of shared directories are kept there. What the filesystem or the kernel doesn't
    # allow (security labels) it sets by itself on the new file.
    with contextlib.suppress(OSError):
        for name in os.listxattr(source):
            with contextlib.suppress(OSError):
                os.setxattr(target, name, os.getxattr(source, name))


def _read(descriptor: int, path: Path, max_bytes: int) -> bytes:
    chunks, size = [], 0
    while chunk := os.read(descriptor, min(_CHUNK_BYTES, max_bytes + 1 - size)):
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise FileRefused(f"{path} is larger than {max_bytes} bytes")
    return b"".join(chunks)


def _identity(status: os.stat_result) -> tuple[int, int, int, int, int]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
