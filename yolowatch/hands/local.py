"""Hands of the user that yolowatch runs as.

A launched command is this process's child in the same session and process group, with the same
terminal, open descriptors, limits, umask and ignored signals: as if the shell had started it. So
Ctrl-C reaches it exactly once, it outlives a killed supervisor, and nothing stands between it and
the terminal.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal as signals
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from yolowatch.edges.clock import Clock, SystemClock
from yolowatch.edges.oom_kills import oom_kills
from yolowatch.edges.proc import process_key
from yolowatch.errors import LaunchError
from yolowatch.hands.port import Launched
from yolowatch.model.events import Post, ProcessExited
from yolowatch.model.identity import ProcessKey

_RETRY_SECONDS = 0.02
_PYTHON_IGNORES = (signals.SIGPIPE, signals.SIGXFSZ)  # by its own habit, not its parent's wish
_CLONE_FS = 0x200


class LocalHands:
    """Launches, watches and signals processes of this user."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()  # a pidfd is never closed while it is signalled through
        self._pidfds: dict[ProcessKey, int] = {}

    def launch(self, command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Launched:
        """Start `command` without a shell, its program looked up in `environment`'s PATH.

        Raises LaunchError, and then nothing was started.
        """
        program = _program(command, environment, cwd)
        _require_pidfd()
        _restore_child_signal()
        pid = _spawn(program, command, environment, cwd)
        # The child is not reaped before `watch`, so its pid is its own until then.
        pidfd = os.pidfd_open(pid)
        process = process_key(pid)
        assert process is not None, "/proc was readable just before"
        with self._lock:
            self._pidfds[process] = pidfd
        return Launched(process, pidfd)

    def watch(self, launched: Launched, post: Post) -> None:
        """Reap it in a thread of its own and post one ProcessExited, even if the queue is full."""
        name = f"exit-{launched.process.pid}"
        threading.Thread(target=self._reap, args=(launched, post), name=name, daemon=True).start()

    def signal(self, process: ProcessKey, number: int) -> bool:
        """Signal this very process; False where it is gone, OSError where it is forbidden."""
        with self._lock:
            held = self._pidfds.get(process)
            if held is not None:
                return _send(held, number)
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return False
        try:
            # Whoever has the pid now is held by the pidfd: if it is the one that was meant, what
            # follows cannot reach another.
            return process_key(process.pid) == process and _send(pidfd, number)
        finally:
            os.close(pidfd)

    def _reap(self, launched: Launched, post: Post) -> None:
        kills = oom_kills(launched.process.pid)
        status, number = _wait(launched.pidfd)
        now = self._clock.monotonic()
        event = ProcessExited(launched.process, status, number, now, kills.since())
        with self._lock:
            self._pidfds.pop(launched.process, None)
            os.close(launched.pidfd)
        while not post(event):
            self._clock.sleep(_RETRY_SECONDS)


def _wait(pidfd: int) -> tuple[int | None, int | None]:
    """Exit status and signal of a child, once it ended; neither where another reaped it."""
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        return None, None
    if result is None:
        return None, None
    if result.si_code == os.CLD_EXITED:
        return result.si_status, None
    return None, result.si_status


def _send(pidfd: int, number: int) -> bool:
    try:
        signals.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


def _program(command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> str:
    """The file to execute, as a shell would find it; raises LaunchError."""
    if not command or not command[0]:
        raise LaunchError("There is no command to start: write it after `--`.")
    name = command[0]
    if not cwd.is_dir():
        raise LaunchError(f"{name} cannot be started in {cwd}, which is no directory.")
    here = os.path.abspath(cwd)
    if "/" in name:
        candidates = [os.path.join(here, name)]
    else:
        places = environment.get("PATH", os.defpath).split(os.pathsep)
        candidates = [os.path.join(here, place, name) for place in places]
    found = [each for each in candidates if os.path.exists(each)]
    for each in found:
        if os.access(each, os.X_OK) and not os.path.isdir(each):
            return name if "/" in name else each  # a script sees this name as its own
    if not found:
        where = "does not exist" if "/" in name else "is in no directory of PATH"
        raise LaunchError(f"The command {name} {where}: check its spelling.")
    if os.path.isdir(found[0]):
        raise LaunchError(f"{name} is a directory, not a command: name a program in it.")
    raise LaunchError(
        f"{name} is not executable: `chmod +x {found[0]}`, or name the program that runs it first."
    )


def _spawn(program: str, command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> int:
    def spawn() -> int:
        # Only the child's signals are touched: nothing of ours may be delivered meanwhile. What we
        # handle becomes the default by itself, what was ignored when we came stays ignored: under
        # `nohup` the training is to survive the hang-up as well.
        return os.posix_spawn(
            program, list(command), dict(environment), setsigmask=(), setsigdef=_PYTHON_IGNORES
        )

    try:
        if os.path.samefile(cwd, os.curdir):
            return spawn()
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(_in_directory, cwd, spawn).result()
    except OSError as error:
        raise LaunchError(_sentence(error, command[0], program)) from error
    except ValueError as error:  # a NUL in an argument, a `=` in a variable's name
        raise LaunchError(f"{command[0]} cannot be started: {error}.") from error


def _in_directory(cwd: Path, spawn: Callable[[], int]) -> int:
    """Spawn from a thread that has a working directory of its own, which then ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_FS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} to have {cwd} as its directory")
    os.chdir(cwd)
    return spawn()


def _sentence(error: OSError, name: str, program: str) -> str:
    if error.errno == errno.ENOEXEC:
        return (
            f"{name} has no `#!` line and is no program: name what runs it first, "
            f"for example `python {name}`."
        )
    if error.errno == errno.ENOENT:
        return f"{name} cannot be started: the interpreter in its `#!` line does not exist."
    if error.errno == errno.E2BIG:
        return (
            f"{name} cannot be started: its arguments and environment are too long together; "
            "put them into a file."
        )
    if error.errno in (errno.EAGAIN, errno.ENOMEM):
        return (
            f"{name} cannot be started ({os.strerror(error.errno)}): the limit on processes "
            "(`ulimit -u`) or the machine's memory is used up; end something first."
        )
    return f"{name} cannot be started ({error.strerror}): check {program}."


def _require_pidfd() -> None:
    """Whether what is needed after the start will work: a started process cannot be taken back."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        raise LaunchError(
            f"Processes cannot be watched here ({error.strerror}): Linux 5.4 or later is needed, "
            "and free file descriptors (`ulimit -n`)."
        ) from error
    if process_key(os.getpid()) is None:
        raise LaunchError("Processes cannot be told apart here: /proc must be mounted.")


def _restore_child_signal() -> None:
    """Where the parent left SIGCHLD ignored, the kernel would throw exit statuses away."""
    if signals.getsignal(signals.SIGCHLD) is signals.SIG_IGN and (
        threading.current_thread() is threading.main_thread()
    ):
        signals.signal(signals.SIGCHLD, signals.SIG_DFL)
