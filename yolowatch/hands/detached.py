"""Starts a command as somebody else's detached process, the way it was started the first time.

It is nobody's child, has a session of its own and lives outside the daemon's control group: it
outlives the daemon, a stopped service and an upgrade. The work is done by `starter.py`, a program
of its own, so that nothing forks in a process with threads. It is a child, which inherits what this
process is confined by; or, where a door is given, systemd starts it behind that socket, so that a
training has none of the sandbox of whoever had it started.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from yolowatch.edges.clock import Clock, SystemClock
from yolowatch.edges.files import write_all
from yolowatch.edges.proc import process_key
from yolowatch.errors import LaunchError
from yolowatch.hands.scopes import leave
from yolowatch.model.captured import Captured
from yolowatch.model.identity import ProcessKey

_STARTER = Path(__file__).with_name("starter.py")
_ANSWER_BYTES = 4096
_DOOR_SECONDS = 30.0  # for systemd to start what is behind the door


def start_detached(
    captured: Captured,
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    unit: str,
    fallback_log: Path,
    marker: Path | None = None,
    door: Path | None = None,
    clock: Clock | None = None,
) -> ProcessKey:
    """Start `argv` with everything else as captured, in a scope named `unit`.

    The program is the captured one. Outputs go where they went, or into `fallback_log`. With a
    `marker` it is executed only if that file does not exist, which is then made, see
    `edges.markers`. Raises LaunchError, and then nothing was started.
    """
    orders = {
        "executable": captured.executable,
        "argv": list(argv),
        "environment": dict(environment),
        "cwd": captured.cwd,
        "uid": captured.uid,
        "gid": captured.gid,
        "groups": captured.groups,
        "limits": captured.limits,
        "umask": captured.umask,
        "affinity": captured.affinity,
        "nice": captured.nice,
        "oom_score_adj": captured.oom_score_adj,
        "stdout": asdict(captured.stdout),
        "stderr": asdict(captured.stderr),
        "fallback_log": str(fallback_log),
        "marker": None if marker is None else str(marker),
    }
    if os.geteuid() not in (0, captured.uid):
        raise LaunchError(f"Only root can start a training of uid {captured.uid}.")
    with contextlib.ExitStack() as stack:
        try:
            ends = stack.enter_context(_as_child() if door is None else _behind(door))
        except OSError as error:
            raise LaunchError(f"A training cannot be started ({error.strerror}).") from error
        return _guide(*ends, json.dumps(orders), captured, unit, clock or SystemClock())


@contextlib.contextmanager
def _as_child() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """What a starter hears, and what it says."""
    starter = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_STARTER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env={},
        cwd="/",
    )
    with starter:
        assert starter.stdin is not None
        assert starter.stdout is not None
        yield starter.stdin, starter.stdout  # type: ignore[misc]


@contextlib.contextmanager
def _behind(door: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The same of one that systemd starts for this connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_DOOR_SECONDS)
        connection.connect(os.fspath(door))
        connection.setblocking(True)
        with connection.makefile("rwb", buffering=0) as end:
            yield end, end  # type: ignore[misc]


def _guide(
    hears: BinaryIO, says: BinaryIO, orders: str, captured: Captured, unit: str, clock: Clock
) -> ProcessKey:
    """Give the orders, name the process, put it aside, let it go on."""
    name = captured.argv[0]
    try:
        text = orders.encode()
        write_all(hears.fileno(), b"%d\n%b" % (len(text), text))
        word = says.readline(_ANSWER_BYTES).strip()
        process = process_key(int(word)) if word.isdigit() else None
        if process is None:
            raise LaunchError(f"{name} cannot be started: its starter ended at once.")
        leave(process.pid, captured, unit, clock)
        write_all(hears.fileno(), b"go\n")
        trouble = _all_of(says)
    except OSError as error:
        raise LaunchError(f"{name} cannot be started ({error.strerror}).") from error
    if trouble:
        raise LaunchError(f"{name} cannot be started again: {trouble}.")
    return process


def _all_of(says: BinaryIO) -> str:
    """What it says to its end, which comes without a word where the program was executed."""
    found = b""
    while len(found) < _ANSWER_BYTES and (chunk := says.read(_ANSWER_BYTES)):
        found += chunk
    return found.decode("utf-8", "replace").strip()
