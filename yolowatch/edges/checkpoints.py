"""Is this file a whole torch checkpoint? Answered without unpickling it.

Since torch 1.6 a checkpoint is a zip archive of uncompressed members, one of them `data.pkl`. A
file that was cut off has no directory at its end, one with damaged bytes fails a checksum. Whether
the training in it had finished is read from the bytes of `data.pkl` in `trainers.checkpoint`.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from yolowatch.edges.files import open_regular, sha256_of

MAX_FACTS_BYTES = 64 * 1024**2
MAX_MEMBERS = 1_000_000
_CHUNK_BYTES = 1024**2
_LEGACY_BEGINNING = b"\x80\x02"  # a pickle of protocol 2, as torch.save wrote before 1.6


@dataclass(frozen=True)
class CheckpointReport:
    """What was found; where `valid` is false, `reason` says why, in words after "the file".

    `facts` are the bytes of `data.pkl`, never to be unpickled. Sizes and times are of the file at
    the moment of the check, None where it could not be opened.
    """

    valid: bool
    reason: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    mtime_ns: int | None = None
    inode: int | None = None
    facts: bytes | None = field(default=None, repr=False)


class _Invalid(Exception):
    pass


def inspect(
    path: Path, *, with_sha256: bool = False, follow_links: bool = True
) -> CheckpointReport:
    """Check every byte of the file at `path`, in chunks: never all of it is in memory.

    It raises nothing: what cannot be read is not valid. A file that was written to meanwhile is
    not valid either, since nobody knows what was read.
    """
    try:
        descriptor = open_regular(path, 0 if follow_links else os.O_NOFOLLOW)
    except FileNotFoundError:
        return CheckpointReport(False, "does not exist")
    except OSError as error:
        return CheckpointReport(False, f"cannot be read ({error.strerror or error})")
    with os.fdopen(descriptor, "rb") as file:
        before = os.fstat(file.fileno())
        reason, facts, digest = None, None, None
        try:
            facts = _check(file, before.st_size)
            digest = sha256_of(file) if with_sha256 else None
            if not _is_unchanged(path, file, before):
                raise _Invalid("was written to while it was checked")
        except _Invalid as invalid:
            # A file in the middle of being written looks damaged: say what is the case.
            changed = not _is_unchanged(path, file, before)
            reason = "was written to while it was checked" if changed else str(invalid)
            facts = digest = None
        return CheckpointReport(
            valid=reason is None,
            reason=reason,
            sha256=digest,
            size_bytes=before.st_size,
            mtime_ns=before.st_mtime_ns,
            inode=before.st_ino,
            facts=facts,
        )


def looks_whole(path: Path) -> bool:
    """The quick check: a zip archive with its directory at the end, so nothing was cut off."""
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file):
            return True
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _check(file: BinaryIO, size_bytes: int) -> bytes:
    """The bytes of `data.pkl`; raises _Invalid."""
    if size_bytes == 0:
        raise _Invalid("is empty")
    beginning = file.read(8)
    if not beginning.startswith(b"PK\x03\x04"):
        if beginning.startswith(_LEGACY_BEGINNING):
            raise _Invalid("has torch's old format, which cannot be checked without unpickling")
        raise _Invalid("is no torch checkpoint")
    try:
        with zipfile.ZipFile(file) as archive:
            return _check_members(archive, size_bytes)
    except zipfile.BadZipFile as error:
        if "not a zip file" in str(error):
            raise _Invalid("is cut off: its end is missing") from error
        raise _Invalid(f"is damaged ({error})") from error
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise _Invalid(f"is damaged ({error})") from error


def _check_members(archive: zipfile.ZipFile, size_bytes: int) -> bytes:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise _Invalid(f"has more than {MAX_MEMBERS} members")
    if any(each.compress_type != zipfile.ZIP_STORED for each in members):
        raise _Invalid("has compressed members, which torch never writes")
    if sum(each.file_size for each in members) > size_bytes:
        raise _Invalid("is damaged (its members overlap)")
    facts = None
    for each in members:
        is_facts = each.filename.count("/") == 1 and each.filename.endswith("/data.pkl")
        if is_facts and facts is not None:
            raise _Invalid("has two members data.pkl")
        if is_facts and each.file_size > MAX_FACTS_BYTES:
            raise _Invalid(f"has a data.pkl of more than {MAX_FACTS_BYTES} bytes")
        kept: list[bytes] = []
        with archive.open(each) as member:
            while chunk := member.read(_CHUNK_BYTES):  # checks the checksum at the end
                if is_facts:
                    kept.append(chunk)
        if is_facts:
            facts = b"".join(kept)
    if facts is None:
        raise _Invalid("is a zip archive, but no torch checkpoint: it has no data.pkl")
    return facts


def _is_unchanged(path: Path, file: BinaryIO, before: os.stat_result) -> bool:
    try:
        named, opened = os.stat(path), os.fstat(file.fileno())
    except OSError:
        return False
    return _identity(named) == _identity(opened) == _identity(before)


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
