"""Reads from /proc how a process was started, while it lives.

Whatever it got from its parent is taken, so that a later attempt can get the same. What cannot be
had again is refused here, in a sentence: a process of two users (set-uid), one in a container, one
whose directory is gone. It starts nothing.
"""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Mapping

from yolowatch.edges import proc
from yolowatch.edges.cgroup import read_cgroups
from yolowatch.edges.host import unit_limit_bytes
from yolowatch.errors import CaptureError
from yolowatch.model.captured import FILE, LOST, NULL, TERMINAL, Captured, Output
from yolowatch.model.identity import ProcessKey

_MAX_BYTES = 8 * 1024**2  # the kernel allows arguments and environment of 6 MiB together
_NAMESPACES = ("mnt", "pid", "user", "net", "ipc", "uts")
_NAME_COLUMNS = 26  # of a limit
_DELETED = " (deleted)"
_NULL = os.makedev(1, 3)


def capture(process: ProcessKey, machine: str = "/proc/self") -> Captured:
    """How this very process was started; raises CaptureError where that cannot be read.

    `machine` is a process in the namespaces in which it would be started again.
    """
    who, base = f"Process {process.pid}", f"/proc/{process.pid}"
    if proc.process_key(process.pid) != process or proc.is_alive(process) is not True:
        raise CaptureError(f"{who} has ended: how it was started cannot be read any more.")
    try:
        _require_same_namespaces(base, who, machine)
        captured = _read(process, base, who)
    except OSError as error:
        raise CaptureError(
            f"How process {process.pid} was started cannot be read ({error.strerror or error}): "
            "only its own user and root may."
        ) from error
    # A pid that was reused in between would have given a mixture of two processes.
    if proc.process_key(process.pid) != process or proc.is_alive(process) is not True:
        raise CaptureError(f"{who} ended while it was read: nothing of it is used.")
    return captured


def _read(process: ProcessKey, base: str, who: str) -> Captured:
    status = _status(base)
    uid, gid = _single(status, "Uid", who), _single(status, "Gid", who)
    argv = tuple(os.fsdecode(each) for each in _strings(f"{base}/cmdline"))
    if not argv:
        raise CaptureError(f"{who} has no command line: it is no program that a user started.")
    cwd = os.readlink(f"{base}/cwd")
    if cwd.endswith(_DELETED):
        raise CaptureError(f"The working directory of process {process.pid} was removed.")
    return Captured(
        process=process,
        # A program that was upgraded meanwhile has a successor in the same place.
        executable=os.readlink(f"{base}/exe").removesuffix(_DELETED),
        argv=argv,
        environment=_environment(f"{base}/environ"),
        cwd=cwd,
        uid=uid,
        gid=gid,
        groups=tuple(int(word) for word in status.get("Groups", "").split()),
        limits=_limits(base),
        umask=int(status["Umask"], 8) if "Umask" in status else 0o022,
        affinity=tuple(sorted(os.sched_getaffinity(process.pid))),
        nice=os.getpriority(os.PRIO_PROCESS, process.pid),
        oom_score_adj=int(_bytes(f"{base}/oom_score_adj")),
        cgroups=read_cgroups(process.pid),
        stdout=_output(f"{base}/fd/1"),
        stderr=_output(f"{base}/fd/2"),
        memory_max_bytes=unit_limit_bytes(process.pid),
    )


def _require_same_namespaces(base: str, who: str, machine: str) -> None:
    """What lives in a container has paths and users of its own: nothing of it could be used here.

    The links are compared, since namespaces have no other names.
    """
    for name in _NAMESPACES:
        if os.readlink(f"{base}/ns/{name}") != os.readlink(f"{machine}/ns/{name}"):
            raise CaptureError(
                f"{who} lives in a container ({name} namespace of its own): run yolowatch in there."
            )
    if not os.path.samestat(os.stat(f"{base}/root"), os.stat(f"{machine}/root")):
        raise CaptureError(f"{who} has another root directory: run yolowatch in there.")


def _single(status: Mapping[str, str], name: str, who: str) -> int:
    """The one user or group of a process: real, effective, saved and of files are the same."""
    numbers = {int(word) for word in status.get(name, "").split()}
    if len(numbers) != 1:
        raise CaptureError(
            f"{who} acts for several users or groups (set-uid): it is never started by yolowatch."
        )
    return numbers.pop()


def _status(base: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in os.fsdecode(_bytes(f"{base}/status")).splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _environment(path: str) -> dict[str, str]:
    environment: dict[str, str] = {}
    for entry in _strings(path):
        name, separator, value = entry.partition(b"=")
        if name and separator:  # of a name that stands there twice the first one counts
            environment.setdefault(os.fsdecode(name), os.fsdecode(value))
    return environment


def _limits(base: str) -> tuple[tuple[int, int, int], ...]:
    """Every limit; the kernel lists them in the order of their numbers, in columns."""
    lines = _bytes(f"{base}/limits").decode("ascii").splitlines()[1:]
    found = []
    for number, line in enumerate(lines):
        soft, hard = line[_NAME_COLUMNS:].split()[:2]
        found.append((number, _limit(soft), _limit(hard)))
    return tuple(found)


def _limit(word: str) -> int:
    return resource.RLIM_INFINITY if word == "unlimited" else int(word)


def _output(link: str) -> Output:
    """Where a descriptor leads; what cannot be opened again is LOST."""
    try:
        path, status = os.readlink(link), os.stat(link)
    except OSError:
        return Output(LOST)
    identity = (status.st_dev, status.st_ino)
    if stat.S_ISCHR(status.st_mode):
        if status.st_rdev == _NULL:
            return Output(NULL)
        terminal = path.startswith(("/dev/pts/", "/dev/tty"))
        return Output(TERMINAL, path, *identity) if terminal else Output(LOST)
    if stat.S_ISREG(status.st_mode) and not path.endswith(_DELETED):
        return Output(FILE, path, *identity)
    return Output(LOST)


def _strings(path: str) -> list[bytes]:
    """The strings of a list that /proc ends each with a zero byte; empty ones are kept."""
    content = _bytes(path)
    return content.removesuffix(b"\0").split(b"\0") if content else []


def _bytes(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks, size = [], 0
        while chunk := os.read(descriptor, 1024**2):
            chunks.append(chunk)
            size += len(chunk)
            if size > _MAX_BYTES:
                raise OSError(f"{path} is longer than the kernel allows")
    finally:
        os.close(descriptor)
    return b"".join(chunks)
