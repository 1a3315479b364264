"""Starts a command as somebody else's detached process, the way it was started the first time.

It is nobody's child, has a session of its own and lives outside the daemon's control group: it
outlives the daemon, a stopped service and an upgrade. The work is done by `starter.py`, a program
of its own, so that nothing forks in a process with threads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from yolowatch.edges.clock import Clock, SystemClock
from yolowatch.edges.files import write_all
from yolowatch.edges.proc import process_key
from yolowatch.errors import LaunchError
from yolowatch.hands.scopes import leave
from yolowatch.model.captured import Captured
from yolowatch.model.identity import ProcessKey

_STARTER = Path(__file__).with_name("starter.py")
_ANSWER_BYTES = 4096


def start_detached(
    captured: Captured,
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    unit: str,
    fallback_log: Path,
    marker: Path | None = None,
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
    try:
        starter = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_STARTER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={},
            cwd="/",
        )
    except OSError as error:
        raise LaunchError(f"A training cannot be started ({error.strerror}).") from error
    with starter:
        return _guide(starter, json.dumps(orders), captured, unit, clock or SystemClock())


def _guide(
    starter: subprocess.Popen[bytes], orders: str, captured: Captured, unit: str, clock: Clock
) -> ProcessKey:
    """Give the orders, name the process, put it aside, let it go on."""
    assert starter.stdin is not None
    assert starter.stdout is not None
    name = captured.argv[0]
    try:
        text = orders.encode()
        write_all(starter.stdin.fileno(), b"%d\n%b" % (len(text), text))
        word = starter.stdout.readline(_ANSWER_BYTES).strip()
        process = process_key(int(word)) if word.isdigit() else None
        if process is None:
            raise LaunchError(f"{name} cannot be started: its starter ended at once.")
        leave(process.pid, captured, unit, clock)
        write_all(starter.stdin.fileno(), b"go\n")
        trouble = starter.stdout.read(_ANSWER_BYTES).decode("utf-8", "replace").strip()
    except OSError as error:
        raise LaunchError(f"{name} cannot be started ({error.strerror}).") from error
    if trouble:
        raise LaunchError(f"{name} cannot be started again: {trouble}.")
    return process
