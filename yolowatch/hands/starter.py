"""The program that becomes a detached training; run by yolowatch's own Python, with `-I -S`.

It reads its orders from its standard input, their length in a line and then JSON (an environment
holds secrets, and a command line is read by everybody), leaves its parent, tells its pid, waits for
`go`, becomes what was captured and executes it. What goes wrong before that is told on its standard
output; an end of that output without a word says that it was executed. If whoever gives the orders
dies before `go`, nothing is started. Arguments, where it has any, are the first uid that it takes
and those below it that it takes as well.

It stands alone, standard library only, since it must be small: no thread, nothing to inherit. All
that a user could have a hand in (directory, logs, the program itself) is touched as that user.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import resource
import signal
import stat
import sys
from typing import Any

_LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


# keyctl(2) has no wrapper in libc.
_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271}
_JOIN_SESSION_KEYRING = 1

_marked = False  # whether the mark of this attempt is ours


def main() -> int:
    orders = json.loads(_exactly(int(_line())))
    if os.fork():
        return 0  # the training is nobody's child: init, or the user's manager, takes it
    os.setsid()
    answer = os.dup(1)  # closed by the execution, which is what tells of it
    os.write(answer, b"%d\n" % os.getpid())
    if _line() != b"go":
        return 1  # whoever was to name the group of processes is gone
    try:
        _become(orders)
        _connect(_output(orders["stdout"], orders), _output(orders["stderr"], orders))
        _forget_signals()
        if orders["marker"] is not None:
            _mark(orders["marker"])
        os.execve(orders["executable"], orders["argv"], orders["environment"])
    finally:  # reached only by a failure, whatever it is: silence would mean success
        error = sys.exc_info()[1]
        _unmark(orders["marker"])
        os.write(answer, f"{error or 'unknown'}\n".encode("utf-8", "backslashreplace"))


def _mark(path: str) -> None:
    """Leave a mark of this process, the only one that ever executes this attempt."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(os.path.dirname(path), 0o700)
    with open("/proc/self/stat", "rb") as file:
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    global _marked
    _marked = True
    os.write(descriptor, f"{boot} {os.getpid()} {ticks}\n".encode())
    os.fsync(descriptor)
    os.close(descriptor)


def _unmark(path: str | None) -> None:
    """It was not executed after all: another try may be."""
    if _marked and path is not None:
        os.unlink(path)


def _line() -> bytes:
    """One line of the standard input, and not a byte after it."""
    found = b""
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        found += byte
    return found


def _exactly(size: int) -> bytes:
    chunks = []
    while size > 0 and (chunk := os.read(0, size)):
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _become(orders: dict[str, Any]) -> None:
    """Limits and user of the captured process; what only root may give is given while it may.

    A user's own daemon cannot raise a limit that it was itself born under, nor its priority: there
    the nearest that is allowed is taken.
    """
    if not _may_be(orders["uid"]):
        raise PermissionError(f"uid {orders['uid']} is root or the system's")
    privileged = os.geteuid() == 0
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, orders["nice"])
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(orders["oom_score_adj"]))
    with contextlib.suppress(OSError):  # processors that were taken away since
        os.sched_setaffinity(0, orders["affinity"])
    for number, soft, hard in orders["limits"]:
        _limit(number, soft, hard)
    if privileged:
        _leave_keyring()
        os.setgroups(orders["groups"])
        os.setresgid(orders["gid"], orders["gid"], orders["gid"])
        os.setresuid(orders["uid"], orders["uid"], orders["uid"])
    if os.getresuid() != (orders["uid"],) * 3:
        raise PermissionError(f"only root can start a program of uid {orders['uid']}")
    os.umask(orders["umask"])
    os.chdir(orders["cwd"])


def _may_be(uid: int) -> bool:
    """Whether a helper that has fallen to an attacker could not name this user either."""
    bounds = [int(word) for word in sys.argv[1:]]
    return not bounds or uid >= bounds[0] or uid in bounds[1:]


def _leave_keyring() -> None:
    """Keys of the daemon's session are not the training's."""
    number = _KEYCTL.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, _JOIN_SESSION_KEYRING, 0)


def _limit(number: int, soft: int, hard: int) -> None:
    with contextlib.suppress(OSError, ValueError):  # more than anybody may have here
        try:
            resource.setrlimit(number, (soft, hard))
        except (OSError, ValueError):
            ceiling = resource.getrlimit(number)[1]
            resource.setrlimit(number, (_lower(soft, ceiling), _lower(hard, ceiling)))


def _lower(limit: int, ceiling: int) -> int:
    """The smaller of two limits, of which each may be unlimited."""
    finite = [each for each in (limit, ceiling) if each != resource.RLIM_INFINITY]
    return min(finite, default=resource.RLIM_INFINITY)


def _output(place: dict[str, Any], orders: dict[str, Any]) -> int:
    """A descriptor of where the output went before, else of the fallback, else of nothing."""
    if place["kind"] in ("file", "terminal"):
        with contextlib.suppress(OSError):
            return _same(place)
    if place["kind"] != "null":
        with contextlib.suppress(OSError):
            return _fallback(orders["fallback_log"])
    return os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)


def _same(place: dict[str, Any]) -> int:
    """The very file or terminal that was written to; raises OSError where it is another."""
    descriptor = os.open(place["path"], _LOG_FLAGS)
    status = os.fstat(descriptor)
    right = stat.S_ISREG if place["kind"] == "file" else stat.S_ISCHR
    same = (status.st_dev, status.st_ino) == (place["device"], place["inode"])
    if not same or not right(status.st_mode):
        os.close(descriptor)
        raise OSError(f"{place['path']} is another file now")
    os.set_blocking(descriptor, True)
    return descriptor


def _fallback(path: str) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkdir(os.path.dirname(path), 0o700)
    descriptor = os.open(path, _LOG_FLAGS | os.O_CREAT, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no regular file")
    os.set_blocking(descriptor, True)
    return descriptor


def _connect(output: int, errors: int) -> None:
    """Standard input, output and error of the training; every other descriptor ends with exec."""
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    for descriptor, number in ((null, 0), (output, 1), (errors, 2)):
        os.dup2(descriptor, number)


def _forget_signals() -> None:
    """Python's own habits and the daemon's blocked signals are not the training's."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


if __name__ == "__main__":
    sys.exit(main())
