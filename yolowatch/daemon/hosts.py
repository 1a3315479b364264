"""The host's memory as it was a moment ago, looked up in a thread of its own: /proc may be long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from yolowatch.edges import host
from yolowatch.edges.clock import Clock
from yolowatch.model.events import HostSeen, Post
from yolowatch.model.host import HostMemory
from yolowatch.model.identity import ProcessKey

_EVERY_SECONDS = 10.0


class Hosts:
    """`work` is what the thread does until `close`; the loop sets `watched`, by the runs' ids.

    What is found is posted as an event; `beat` is called after each look.
    """

    def __init__(
        self,
        clock: Clock,
        post: Post,
        beat: Callable[[], None] = lambda: None,
        every_seconds: float = _EVERY_SECONDS,
    ) -> None:
        self._clock, self._post, self._beat = clock, post, beat
        self._every_seconds = every_seconds
        self._over = threading.Event()
        self.watched: Mapping[str, ProcessKey] = {}
        self.machine = HostMemory()

    def work(self) -> None:
        while not self._over.is_set():
            self.machine = host.machine()
            found = host.of_runs(self.watched)
            if found:
                self._post(HostSeen(found, self._clock.monotonic()))
            self._beat()
            self._over.wait(self._every_seconds)

    def close(self) -> None:
        """Have the thread end."""
        self._over.set()
