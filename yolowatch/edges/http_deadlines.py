"""Cuts connections that last too long, whatever they are doing: one thread for all of them."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading

from yolowatch.edges.clock import Clock

_LOOK_SECONDS = 0.25


class Deadlines:
    """`begin`, `replace` and `end` may be called from any thread."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds, self._clock = seconds, clock
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._open: dict[int, tuple[float, socket.socket]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="http-deadlines", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def begin(self, connection: socket.socket) -> int:
        """From now on its time runs; the number that names it here."""
        number = next(self._numbers)
        with self._lock:
            self._open[number] = (self._clock.monotonic() + self._seconds, connection)
        return number

    def replace(self, number: int, connection: socket.socket) -> None:
        """It is spoken on through another object, in the same time."""
        with self._lock:
            self._open[number] = (self._open[number][0], connection)

    def end(self, number: int) -> None:
        with self._lock:
            del self._open[number]

    def _work(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            now = self._clock.monotonic()
            with self._lock:  # held while cutting, so that no number of a closed one is used again
                for due, connection in self._open.values():
                    if due <= now:
                        with contextlib.suppress(OSError):
                            socket.socket.shutdown(connection, socket.SHUT_RDWR)
