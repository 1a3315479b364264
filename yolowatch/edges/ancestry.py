"""Reads from /proc which processes stand above one, and whether they can be typed at."""

from __future__ import annotations

import os

from yolowatch.edges import proc
from yolowatch.model.adoption import Ancestor
from yolowatch.model.identity import ProcessKey

_MOST = 64  # a chain that is longer is no chain of starts


def ancestors(process: ProcessKey) -> tuple[Ancestor, ...]:
    """The chain above `process` as far as it can be seen, the nearest first, without pid 1."""
    found: list[Ancestor] = []
    pid = proc.parent_pid(process.pid)
    while pid is not None and pid > 1 and len(found) < _MOST:
        key = proc.process_key(pid)
        if key is None:
            break
        found.append(Ancestor(key, proc.command_line(pid) or (), proc.has_terminal(pid)))
        pid = proc.parent_pid(pid)
    return tuple(found)


def survivors(chain: tuple[Ancestor, ...]) -> tuple[Ancestor, ...]:
    """Those that are not known to have ended."""
    return tuple(each for each in chain if proc.is_alive(each.process) is not False)


def trainings_like(argv: tuple[str, ...], cwd: str, uid: int) -> tuple[ProcessKey, ...]:
    """Living processes of `uid` with this very command line in this directory."""
    alike = []
    for pid in proc.pids():
        if proc.command_line(pid) != argv:
            continue
        key, owner = proc.process_key(pid), proc.owner(pid)
        if key is None or owner != uid or proc.is_alive(key) is False:
            continue
        try:
            here = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            here = cwd  # it cannot be read: that is not somewhere else
        if here == cwd:
            alike.append(key)
    return tuple(alike)
