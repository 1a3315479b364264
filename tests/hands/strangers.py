"""Processes of another user, as somebody started them by hand."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolowatch.edges.clock import SystemClock
from yolowatch.edges.proc import is_alive, process_key
from yolowatch.model.identity import ProcessKey

ROOT = os.geteuid() == 0
UID = 23456 if ROOT else os.geteuid()
GID = 23457 if ROOT else os.getegid()
GROUPS = (23458, 23459) if ROOT else tuple(os.getgroups())
ENVIRONMENT = {"PATH": os.defpath, "SECRET": "p4ss word=\udce4", "EMPTY": "", "HOME": "/"}


def settle(predicate: Callable[[], bool], seconds: float = 20) -> None:
    clock = SystemClock()
    end = clock.monotonic() + seconds
    while not predicate():
        assert clock.monotonic() < end, f"did not happen within {seconds} s"
        clock.sleep(0.005)


@contextlib.contextmanager
def home(uid: int = UID, gid: int = GID) -> Iterator[Path]:
    """A directory of that user's, reachable by them: pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="yolowatch-test-", dir="/tmp"))
    os.chown(path, uid, gid)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@dataclass
class Stranger:
    """One started process."""

    popen: subprocess.Popen[bytes]
    key: ProcessKey

    def end(self) -> None:
        self.popen.kill()
        self.popen.wait()


@contextlib.contextmanager
def stranger(
    command: Sequence[str],
    cwd: Path,
    *,
    log: Path | None = None,
    environment: Mapping[str, str] = ENVIRONMENT,
    uid: int = UID,
    gid: int = GID,
    groups: Sequence[int] = GROUPS,
    odd: bool = True,
) -> Iterator[Stranger]:
    """Somebody's process with a log, and with limits, mask and priority of its own if `odd`."""

    def become() -> None:
        if odd:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 1 << 20))
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
            os.nice(3)
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write("250")
        if ROOT:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        os.umask(0o027 if odd else 0o022)

    out = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    if log is not None:
        os.fchown(out, uid, gid)
    try:
        popen = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=become,
        )
    finally:
        os.close(out)
    key = process_key(popen.pid)
    assert key is not None
    try:
        yield Stranger(popen, key)
    finally:
        popen.kill()
        popen.wait()


def end(process: ProcessKey) -> None:
    """End a detached process, which is nobody's child."""
    if is_alive(process):
        os.kill(process.pid, signal.SIGKILL)
        settle(lambda: is_alive(process) is False)
