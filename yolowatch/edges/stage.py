"""Stages the hook: an immutable copy for the training's own Python to import.

The copy is named after its content, so that an upgrade of yolowatch under a running training cannot
mix two versions of its modules, and a hook that is already loaded keeps finding its own. It is the
user's own and closed to others, never at a path that somebody else could have made first; what root
stages for the processes of others, they can read.

What is staged: the directory that goes on PYTHONPATH, holding `sitecustomize.py`, which every
Python imports by itself, and the package `yolowatch_hook`, a copy of `yolowatch/hook`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from yolowatch.edges.files import sync_directory, write_all
from yolowatch.errors import StateError

PACKAGE = "yolowatch_hook"
ENTRY = "sitecustomize.py"
_MAX_TAMPERED = 8
_HOOK = Path(__file__).resolve().parent.parent / "hook"


@dataclass(frozen=True)
class StagedHook:
    """`path` goes on the training's PYTHONPATH; `sha256` names the content."""

    path: Path
    sha256: str


def stage(state_dir: Path, source: Path = _HOOK, shared: bool = False) -> StagedHook:
    """Stage the hook beneath `state_dir`, or find it staged and untouched; raises StateError.

    Others can read it where it is `shared`.
    """
    files = _files(source)
    content = _digest(files)
    return StagedHook(place(state_dir, content[:16], files, shared), content)


def digest(source: Path = _HOOK) -> str:
    """The name of this hook's content; raises StateError."""
    return _digest(_files(source))


def place(state_dir: Path, name: str, files: Mapping[str, bytes], shared: bool) -> Path:
    """The directory `name`, or a successor of it, that holds exactly these files; StateError."""
    try:
        base = _own_directory(state_dir / "hook", shared)
        for number in range(_MAX_TAMPERED):
            # One that was tampered with is left for its owner to look at, and never used again.
            path = base / (name if number == 0 else f"{name}-{number}")
            if not os.path.lexists(path):
                _write(files, base, path, shared)
            if _is_intact(path, files, shared):
                return path
    except OSError as error:
        raise StateError(
            f"The hook cannot be staged in {state_dir} ({error.strerror or error}): make room and "
            "the directory writable, or give another --state-dir."
        ) from error
    raise StateError(
        f"The staged hook in {base} was changed {_MAX_TAMPERED} times by somebody else: find out "
        "by whom, then remove that directory; yolowatch makes it again."
    )


def _files(source: Path) -> Mapping[str, bytes]:
    """Everything to be staged, by its path beneath the staged directory."""
    files = {}
    for path in sorted(source.rglob("*.py")):
        name = path.relative_to(source).as_posix()
        files[name if name == ENTRY else f"{PACKAGE}/{name}"] = path.read_bytes()
    if ENTRY not in files or f"{PACKAGE}/__init__.py" not in files:
        raise StateError(f"The hook in {source} is incomplete: install yolowatch again.")
    return files


def _digest(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        # Lengths keep the end of one from being taken for the beginning of another.
        digest.update(f"{len(name.encode())} {len(content)} {name}".encode())
        digest.update(content)
    return digest.hexdigest()


def _write(files: Mapping[str, bytes], base: Path, path: Path, shared: bool) -> None:
    """Write all of it aside, then give it its name at once."""
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=base))
    try:
        parents = {parent for name in files for parent in Path(name).parents}
        for each in sorted(parents - {Path(".")}):  # the outer ones first
            (temporary / each).mkdir(mode=0o700)
            os.chmod(temporary / each, _mode(shared))
        os.chmod(temporary, _mode(shared))
        for name, content in files.items():
            target = temporary / name
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(target, flags, 0o400)
            try:
                write_all(descriptor, content)
                os.fchmod(descriptor, 0o444 if shared else 0o400)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        # Another yolowatch may have been faster; a directory with content is never replaced.
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            _rename(temporary, path)
        sync_directory(base)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, path: Path) -> None:
    try:
        os.rename(temporary, path)
    except OSError as error:
        if not path.is_dir():
            raise
        raise FileExistsError(path) from error


def _is_intact(path: Path, files: Mapping[str, bytes], shared: bool) -> bool:
    """Whether `path` is ours, closed to others as it is to be, and holds exactly these files.

    Python's own caches may lie beside them: only the owner can write them.
    """
    if not _is_own(path, shared):
        return False
    found = {}
    for directory, subdirectories, names in os.walk(path):
        subdirectories[:] = [each for each in subdirectories if each != "__pycache__"]
        if not all(_is_own(Path(directory, each), shared) for each in subdirectories):
            return False
        for name in names:
            each = Path(directory, name)
            status = os.lstat(each)
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o022:
                return False
            found[each.relative_to(path).as_posix()] = each.read_bytes()
    return found == files


def _mode(shared: bool) -> int:
    return 0o755 if shared else 0o700


def _is_own(path: Path, shared: bool) -> bool:
    status = os.lstat(path)
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return is_ours and stat.S_IMODE(status.st_mode) & 0o777 & ~_mode(shared) == 0


def _own_directory(path: Path, shared: bool) -> Path:
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        os.chmod(path, _mode(shared))
    if not _is_own(path, shared):
        raise StateError(
            f"{path} must be a directory of yours that is closed to others (`chmod 700`), since "
            "code is run from it: move it aside, or give another --state-dir."
        )
    return path
