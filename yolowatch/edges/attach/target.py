"""What can be known of a process before anything is done to it, and why it may not be touched."""

from __future__ import annotations

import errno
import os
import pwd
from dataclasses import dataclass

from yolowatch.edges import proc
from yolowatch.edges.attach import symbols
from yolowatch.edges.attach.memory import Mapping, Memory, mappings
from yolowatch.edges.attach.symbols import Interpreter
from yolowatch.errors import (
    AttachError,
    NoPythonError,
    NoWayError,
    OwnProcessError,
    ProcessForbiddenError,
    ProcessMissingError,
    ProcessTracedError,
)
from yolowatch.model.identity import ProcessKey

_YAMA = "/proc/sys/kernel/yama/ptrace_scope"
_PROGRAM = b"yolowatch"
_MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class Target:
    """A process that runs a Python; `uid` is its real user."""

    process: ProcessKey
    uid: int
    maps: list[Mapping]
    interpreter: Interpreter

    @property
    def pid(self) -> int:
        return self.process.pid


def examine(pid: int) -> Target:
    """The process, if it is one that the hook could run in; raises an AttachError otherwise."""
    process = proc.process_key(pid) if pid > 0 else None
    status = _status(pid)
    if process is None or not status or status.get("State", "Z")[:1] in "ZX":
        raise ProcessMissingError(
            f"There is no process {pid}: it has ended, or that is not its number."
        )
    if pid == os.getpid() or _is_yolowatch(pid):
        raise OwnProcessError(
            f"Process {pid} is yolowatch itself: name the training's process instead."
        )
    uid = int(status.get("Uid", "0").split()[0])
    if os.geteuid() not in (0, uid):
        raise ProcessForbiddenError(
            f"Process {pid} belongs to {_name(uid)}: only they, or root, can attach to it."
        )
    tracer = int(status.get("TracerPid", "0"))
    if tracer:
        raise _traced(pid, tracer)
    try:
        maps = mappings(pid)
        with Memory(pid) as memory:
            found = symbols.find_interpreter(pid, maps, memory)
    except symbols.NotThere as error:
        raise NoPythonError(f"Process {pid} runs no Python: {error}.") from None
    except OSError as error:
        raise refusal(pid, error) from error
    if found.is_old:
        raise NoPythonError(
            f"Process {pid} runs a Python older than 3.8 ({found.path}), in which the hook cannot "
            "run: it can be observed from outside only."
        )
    return Target(process, uid, maps, found)


def refusal(pid: int, error: OSError) -> AttachError:
    """What the kernel meant when it did not let us in, as a sentence."""
    status = _status(pid)
    if not status or error.errno == errno.ESRCH:
        return ProcessMissingError(f"Process {pid} has ended.")
    tracer = int(status.get("TracerPid", "0"))
    if tracer:
        return _traced(pid, tracer)
    if error.errno in (errno.EACCES, errno.EPERM):
        return ProcessForbiddenError(f"Process {pid} is closed to debuggers: {_cause()}.")
    return NoWayError(f"Process {pid} cannot be attached to ({error.strerror or error}).")


def sees(pid: int, path: os.PathLike[str]) -> bool:
    """Whether the process finds the very same file at that path: a container may not."""
    ours = os.stat(path)
    try:
        theirs = os.stat(f"/proc/{pid}/root{os.fspath(path)}")
    except OSError:
        return False
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def state(pid: int) -> str | None:
    """The one letter of the kernel's for what its main thread does now."""
    return _status(pid).get("State", "")[:1] or None


def _traced(pid: int, tracer: int) -> ProcessTracedError:
    return ProcessTracedError(
        f"Process {pid} is traced by process {tracer} (a debugger or strace?): end that first."
    )


def _cause() -> str:
    if _text(_YAMA).strip() not in ("", "0"):
        return (
            "kernel.yama.ptrace_scope lets nobody but root attach to what they did not start: "
            "attach as root, or `sysctl kernel.yama.ptrace_scope=0`"
        )
    return "it, or a sandbox around one of the two, forbids it: attach as root"


def _is_yolowatch(pid: int) -> bool:
    """Whether this is a command of yolowatch's: its program, or Python's `-m yolowatch`."""
    words = _text(f"/proc/{pid}/cmdline").encode("utf-8", "surrogateescape").split(b"\0")[:4]
    if b"-m" in words[:3]:
        return words[words.index(b"-m") + 1 :][:1] == [_PROGRAM]
    return any(os.path.basename(word) == _PROGRAM for word in words[:2])


def _status(pid: int) -> dict[str, str]:
    pairs = (line.partition(":") for line in _text(f"/proc/{pid}/status").splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
