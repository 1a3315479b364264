"""Looks through /proc for trainings that have no hook, again and again, in a thread of its own.

A process is looked into once it is old enough to have loaded what it needs, told of once, and never
touched. Forked workers of a DataLoader have the command line of the training: a process whose
parent has the same one is such a worker.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from yolowatch.edges import proc
from yolowatch.edges.clock import Clock
from yolowatch.model.events import Post, TrainingSeen
from yolowatch.model.identity import ProcessKey

_LIBRARY = b"libtorch"
_MAPS_BYTES = 4 << 20
_SUPERVISED = (b"YOLOWATCH_SOCKET=", b"YOLOWATCH=0\0")


@dataclass(frozen=True)
class Pace:
    """In seconds: how often /proc is looked through, and how old a process must be."""

    every: float = 5.0
    age: float = 10.0


class Discovery:
    """Posts a TrainingSeen for each training of `uids` that was started without a hook."""

    def __init__(
        self,
        post: Post,
        clock: Clock,
        uids: Collection[int] | None,
        worth_a_hook: Callable[[tuple[str, ...]], str | None],
        pace: Pace = Pace(),
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """`uids` None is everybody's; `worth_a_hook` says what a command line looks like; `beat`
        is called after each look.
        """
        self._beat = beat
        self._post, self._clock, self._uids, self._pace = post, clock, uids, pace
        self._worth_a_hook = worth_a_hook
        self._judged: set[ProcessKey] = set()
        self._closing = threading.Event()

    def close(self) -> None:
        self._closing.set()

    def work(self) -> None:
        """Look until `close`; the body of the thread."""
        while not self._closing.wait(self._pace.every):
            self.look()
            self._beat()

    def look(self) -> None:
        """Look through /proc once."""
        present = set()
        for pid in proc.pids():
            key = proc.process_key(pid)
            if key is None:
                continue
            present.add(key)
            if key not in self._judged and self._is_old(key) and self._judge(key):
                self._judged.add(key)
        self._judged &= present

    def _is_old(self, key: ProcessKey) -> bool:
        began = proc.started_at(key)
        return began is not None and self._clock.wall() - began >= self._pace.age

    def _judge(self, key: ProcessKey) -> bool:
        """Whether nothing more is to be found out about it; tells of it where it is a training."""
        uid, argv = proc.owner(key.pid), proc.command_line(key.pid) or ()
        if uid is None or (self._uids is not None and uid not in self._uids):
            return True
        sight = self._worth_a_hook(argv)
        if sight is None or key.pid == os.getpid() or self._is_worker(key.pid, argv):
            return True
        if _is_supervised(key.pid):
            return True
        if not _holds(key.pid):
            return False  # torch may be loaded yet
        return self._post(TrainingSeen(key, uid, argv, sight, self._clock.monotonic()))

    def _is_worker(self, pid: int, argv: tuple[str, ...]) -> bool:
        parent = proc.parent_pid(pid)
        return parent is not None and proc.command_line(parent) == argv


def _holds(pid: int) -> bool:
    """Whether torch is loaded; False also where that cannot be read."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            return _LIBRARY in file.read(_MAPS_BYTES)
    except OSError:
        return False


def _is_supervised(pid: int) -> bool:
    """Whether its environment says that it has a hook of somebody's, or wants none."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
    except OSError:
        return False  # whoever attaches will find out
    return any(each in environment for each in _SUPERVISED)
