"""The vault: validated copies of a run's checkpoints, and the originals of its changed files.

It lies in the run directory, `.yolowatch/`, so that it counts against the user's own quota and goes
when the run goes. No trainer writes its checkpoint atomically, and a hard link would share the
damage: so a copy is made when a checkpoint was saved, and what counts is the copy's own check. The
newest copies are kept, as many as are asked for and fit into a budget of bytes; originals are kept
for ever.

One owner of the run directory at a time is assumed; whoever calls holds its lease.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from yolowatch.edges import copying
from yolowatch.edges.checkpoints import inspect, looks_whole
from yolowatch.edges.clock import Clock, SystemClock
from yolowatch.edges.files import (
    copy_ownership,
    create,
    open_regular,
    remove,
    sha256_of,
    sync_directory,
)
from yolowatch.edges.priority import idle_io
from yolowatch.model.quantity import bytes_text

NAME = ".yolowatch"
RESERVE_BYTES = 256 * 1024**2
_COPY_NAME = re.compile(r"(\d{6,})-attempt(\d+)-epoch(-?\d+)-([0-9a-f]{16})\.pt\Z")
_TEMPORARY = ".yolowatch-new-"  # and a random end; a later call sweeps away what a crash left


class VaultRefused(Exception):
    """Nothing was stored or restored, and why; what was there before still is."""


class VaultOverBudget(VaultRefused):
    """One copy alone is larger than all of them may be together."""


@dataclass(frozen=True)
class VaultedCheckpoint:
    """A copy whose every byte was checked; `facts` are the bytes of its data.pkl.

    `source_mtime_ns` and `source_inode` name the state of the original that it is a copy of, where
    it was just made; `seconds` is what that took.
    """

    copy: Path
    sequence: int
    attempt: int
    epoch: int
    sha256: str
    size_bytes: int
    seconds: float | None = None
    source_mtime_ns: int | None = None
    source_inode: int | None = None
    facts: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class StoredFile:
    """An original, named after its content."""

    sha256: str
    copy: Path


class Vault:
    """The vault of one run directory, made with the first copy. Calls raise VaultRefused."""

    def __init__(
        self,
        run_dir: Path,
        *,
        keep: int = 2,
        budget_bytes: int | None = None,
        reserve_bytes: int = RESERVE_BYTES,
        clock: Clock | None = None,
    ) -> None:
        self.path = run_dir / NAME
        self._keep, self._budget_bytes, self._reserve_bytes = keep, budget_bytes, reserve_bytes
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()  # leftovers and old copies are told by their names alone

    def store_checkpoint(self, path: Path, attempt: int, epoch: int) -> VaultedCheckpoint:
        """A checked copy of the checkpoint at `path`; once it is whole, older ones beyond `keep`
        and the budget are removed. Runs at idle I/O priority in the calling thread.
        """
        began = self._clock.monotonic()
        with self._lock, idle_io(), _explained(f"{path} cannot be copied"):
            directory = self.directory("checkpoints")
            temporary = _temporary_in(directory)
            try:
                self._require_budget(path)
                source = self._copy(path, temporary, self._reserve_bytes)
                report = inspect(temporary, with_sha256=True)
                if not report.valid or report.sha256 is None or report.size_bytes is None:
                    raise VaultRefused(f"{path} {report.reason}")
                sequence = 1 + max((found.sequence for found in self._listed()), default=0)
                name = f"{sequence:06}-attempt{attempt}-epoch{epoch}-{report.sha256[:16]}.pt"
                copy = directory / name
                os.rename(temporary, copy)
            finally:
                remove(temporary)  # where it was renamed there is none
            sync_directory(directory)
            self._prune()
            return VaultedCheckpoint(
                copy=copy,
                sequence=sequence,
                attempt=attempt,
                epoch=epoch,
                sha256=report.sha256,
                size_bytes=report.size_bytes,
                seconds=self._clock.monotonic() - began,
                source_mtime_ns=source.st_mtime_ns,
                source_inode=source.st_ino,
                facts=report.facts,
            )

    def newest_valid(self) -> VaultedCheckpoint | None:
        """The newest copy that is still whole, every byte read again; None where there is none."""
        for found in self._listed():
            report = inspect(found.copy, with_sha256=True, follow_links=False)
            if report.valid and report.sha256 and report.sha256.startswith(found.sha256):
                return VaultedCheckpoint(
                    copy=found.copy,
                    sequence=found.sequence,
                    attempt=found.attempt,
                    epoch=found.epoch,
                    sha256=report.sha256,
                    size_bytes=report.size_bytes or 0,
                    facts=report.facts,
                )
        return None

    def restore(self, checkpoint: VaultedCheckpoint, target: Path) -> None:
        """Put a copy in the place of `target`, whole or not at all; the copy stays."""
        with _explained(f"{checkpoint.copy} cannot be restored to {target}"):
            target = Path(os.path.realpath(target))
            _remove_leftovers(target.parent)
            temporary = _temporary_in(target.parent)
            try:
                self._copy(checkpoint.copy, temporary)
                report = inspect(temporary, with_sha256=True)
                if report.sha256 != checkpoint.sha256:
                    reason = report.reason or "is not what was stored"
                    raise VaultRefused(f"{checkpoint.copy} {reason}")
                _dress(temporary, target)
                os.replace(temporary, target)
            finally:
                remove(temporary)
            sync_directory(target.parent)

    def store_file(self, path: Path) -> StoredFile:
        """Keep the file as it is now, for ever; the same content is kept once."""
        with self._lock, _explained(f"{path} cannot be copied"):
            directory = self.directory("originals")
            temporary = _temporary_in(directory)
            try:
                self._copy(path, temporary)
                with open(temporary, "rb") as file:
                    digest = sha256_of(file)
                name = os.fsdecode(os.fsencode(path.name)[-150:])  # a name has at most 255 bytes
                copy = directory / f"{digest}-{name}"
                os.replace(temporary, copy)
            finally:
                remove(temporary)
            sync_directory(directory)
        return StoredFile(digest, copy)

    def directory(self, name: str) -> Path:
        """A directory of ours and nobody else's; a link or another's is refused."""
        for directory in (self.path, self.path / name):
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory, 0o700)
                sync_directory(directory.parent)
            status = os.lstat(directory)
            if not stat.S_ISDIR(status.st_mode):
                raise VaultRefused(f"{directory} is no directory, though the vault must be one")
            if status.st_uid != os.geteuid():
                raise VaultRefused(f"{directory} belongs to uid {status.st_uid}")
            if stat.S_IMODE(status.st_mode) != 0o700:
                os.chmod(directory, 0o700)
        _remove_leftovers(directory)
        return directory

    def _copy(self, path: Path, temporary: Path, reserve_bytes: int = 0) -> os.stat_result:
        """Make a synced copy of a file that was not written to meanwhile; what that file was."""
        source = open_regular(path)
        try:
            target = create(temporary)
            try:
                before = os.fstat(source)
                if not copying.reflink(source, target):
                    self._require_space(target, before.st_size, reserve_bytes)
                    copying.copy_bytes(source, target)
                os.fsync(target)
                after = (os.fstat(source), os.stat(path))
                if any(_identity(each) != _identity(before) for each in after):
                    raise VaultRefused(f"{path} was written to while it was copied")
                if os.fstat(target).st_size != before.st_size:
                    raise VaultRefused(f"{path} could not be copied whole")
            finally:
                os.close(target)
        finally:
            os.close(source)
        return before

    def _require_space(self, target: int, size_bytes: int, reserve_bytes: int) -> None:
        disk = os.fstatvfs(target)
        free_bytes = disk.f_bavail * disk.f_frsize
        if free_bytes < size_bytes + reserve_bytes:
            raise VaultRefused(
                f"the disk of {self.path.parent} has {free_bytes} bytes left, and a copy of "
                f"{size_bytes} bytes must leave {reserve_bytes}"
            )

    def _require_budget(self, path: Path) -> None:
        size_bytes = os.stat(path).st_size
        if self._budget_bytes is not None and size_bytes > self._budget_bytes:
            raise VaultOverBudget(
                f"{path} has {bytes_text(size_bytes)}, and all copies in the vault together may "
                f"take {bytes_text(self._budget_bytes)}"
            )

    def _listed(self) -> list[VaultedCheckpoint]:
        """All copies by their names, newest first; `sha256` is only its beginning, unchecked."""
        found = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.path / "checkpoints"):
                if (match := _COPY_NAME.match(entry.name)) and entry.is_file(follow_symlinks=False):
                    sequence, attempt, epoch = (int(match[group]) for group in (1, 2, 3))
                    found.append(
                        VaultedCheckpoint(Path(entry.path), sequence, attempt, epoch, match[4], 0)
                    )
        return sorted(found, key=lambda each: each.sequence, reverse=True)

    def _prune(self) -> None:
        """Remove what is older than the newest `keep` whole ones, or than those within budget."""
        whole = used_bytes = 0
        full = False
        for found in self._listed():
            size_bytes = os.lstat(found.copy).st_size
            over = self._budget_bytes is not None and used_bytes + size_bytes > self._budget_bytes
            full = full or whole >= self._keep or (whole > 0 and over)
            if full:
                remove(found.copy)
                continue
            used_bytes += size_bytes
            whole += looks_whole(found.copy)  # its bytes were checked when it was stored


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn the world's refusals into ours."""
    try:
        yield
    except OSError as error:
        raise VaultRefused(f"{what} ({error.strerror or error})") from error


def _dress(temporary: Path, target: Path) -> None:
    """Owner and mode of the file that is replaced, or else of the directory and the usual mode."""
    descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            copy_ownership(descriptor, os.stat(target))
        except FileNotFoundError:
            os.fchmod(descriptor, 0o644)
    finally:
        os.close(descriptor)


def _remove_leftovers(directory: Path) -> None:
    """What a crash in the middle of a copy left behind."""
    for entry in os.scandir(directory):
        if entry.name.startswith(_TEMPORARY):
            remove(Path(entry.path))


def _temporary_in(directory: Path) -> Path:
    return directory / f"{_TEMPORARY}{secrets.token_hex(8)}"


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
