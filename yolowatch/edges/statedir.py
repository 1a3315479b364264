"""Where yolowatch keeps its state, and where a run's socket lies."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from yolowatch.errors import StateError

_SOCKET_PATH_BYTES = 107  # sockaddr_un holds 108 with the final NUL
_SOCKET_NAME_BYTES = 16  # room for "/hook.sock" and the like
_MODE_PRIVATE = 0o700
SYSTEM_SOCKETS = Path("/run/yolowatch")
SYSTEM_CONFIG = Path("/etc/yolowatch/yolowatch.yaml")
SYSTEM_HELPER = Path("/run/yolowatch-helper.sock")
SYSTEM_STARTER = Path("/run/yolowatch-starter.sock")
SYSTEM_STATE = Path("/var/lib/yolowatch")
SYSTEM_USER = "yolowatch"
"""Where and as whom the units in `systemd/` run the service; a test holds them together."""


def default_state_directory(environment: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/yolowatch`, else `~/.local/state/yolowatch`; nothing is made."""
    given = environment.get("XDG_STATE_HOME", "")
    if os.path.isabs(given):  # the specification: a relative path is to be ignored
        return Path(given, "yolowatch")
    home = environment.get("HOME") or _home_of_user()
    if not home or not os.path.isabs(home):
        raise StateError("There is no home directory to keep state in: give --state-dir.")
    return Path(home, ".local", "state", "yolowatch")


def state_directory(given: Path | None, environment: Mapping[str, str]) -> Path:
    """The absolute state directory, made (mode 0700) and really writable; raises StateError."""
    path = Path(os.path.abspath(given or default_state_directory(environment)))
    try:
        path.mkdir(mode=_MODE_PRIVATE, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise _unusable(path, error) from error
    if status.st_uid != os.geteuid():
        raise StateError(
            f"The state directory {path} belongs to {_name_of_user(status.st_uid)}, and what you "
            "write there would be in their way: give another --state-dir."
        )
    if status.st_mode & stat.S_IWOTH:
        raise StateError(
            f"The state directory {path} can be written by everybody, and code is run from it: "
            f"`chmod o-w {path}`, or give another --state-dir."
        )
    try:
        with tempfile.TemporaryFile(dir=path, buffering=0) as probe:
            probe.write(b"x" * 4096)  # a full disk takes a name, but no content
    except OSError as error:
        raise _unusable(path, error) from error
    return path


def socket_directory(environment: Mapping[str, str]) -> Path:
    """A new private directory with a path short enough for a Unix socket; raises StateError.

    `$XDG_RUNTIME_DIR` is the last choice: it goes when the user logs out, and a training under
    nohup or tmux would lose its way back to yolowatch.
    """
    problems = []
    for place in (environment.get("TMPDIR"), "/tmp", environment.get("XDG_RUNTIME_DIR")):  # noqa: S108
        if not place or not os.path.isabs(place):
            continue
        try:
            path = Path(tempfile.mkdtemp(prefix="yolowatch-", dir=place))  # unpredictable, 0700
        except OSError as error:
            problems.append(f"{place}: {error.strerror}")
            continue
        if len(os.fsencode(path)) + _SOCKET_NAME_BYTES <= _SOCKET_PATH_BYTES:
            return path
        with contextlib.suppress(OSError):
            path.rmdir()
        problems.append(f"{place}: too long for a socket's path")
    raise StateError(
        f"There is no place for the hook's socket ({'; '.join(problems)}): set TMPDIR to a local "
        "directory with a short path that you may write to."
    )


def service_socket_directory(environ: Mapping[str, str]) -> Path:
    """Where a service's hook.sock and control.sock lie; nothing is made.

    Root's is the system's. A user's is theirs, also for a job of cron's that was not told of it;
    the hook looks in the same places (`hook/addresses.py`). Raises StateError.
    """
    if os.geteuid() == 0:
        return SYSTEM_SOCKETS
    given = environ.get("XDG_RUNTIME_DIR", "")
    runtime = Path(given) if os.path.isabs(given) else Path(f"/run/user/{os.geteuid()}")
    if runtime.is_dir():
        return runtime / "yolowatch"
    return default_state_directory(environ) / "service"


def remove_socket_directory(path: Path) -> None:
    """Remove what `socket_directory` made, with what is left in it."""
    shutil.rmtree(path, ignore_errors=True)


def _unusable(path: Path, error: OSError) -> StateError:
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return StateError(
            f"The state directory {path} cannot be made, since a file stands in its way: move the "
            "file aside, or give another with --state-dir."
        )
    return StateError(
        f"The state directory {path} cannot be written ({error.strerror}): make it writable for "
        "you, or give another with --state-dir."
    )


def _home_of_user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ""


def _name_of_user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
