"""The GPUs as they were a moment ago, asked for in a thread of its own: a driver may hang."""

from __future__ import annotations

import threading
from collections.abc import Callable

from yolowatch.edges.clock import Clock
from yolowatch.edges.devices import DeviceWatch
from yolowatch.edges.nvml import NoNvml, Nvml
from yolowatch.model.device import DeviceReading
from yolowatch.model.events import DevicesSeen, Post

_EVERY_SECONDS = 2.0
_OLD_SECONDS = 30.0  # older readings are not shown: unknown is better than what was


class Devices:
    """`work` is what the thread does until `close`; the others are called by the loop.

    Each reading is posted as an event too, and `beat` is called after it.
    """

    def __init__(
        self,
        driver: Nvml,
        clock: Clock,
        every_seconds: float = _EVERY_SECONDS,
        post: Post = lambda _event: True,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._driver, self._clock, self._every_seconds = driver, clock, every_seconds
        self._watch = DeviceWatch(driver)
        self._post, self._beat = post, beat
        self._over = threading.Event()
        self._read: tuple[tuple[DeviceReading, ...], float] = ((), clock.monotonic())

    def work(self) -> None:
        while not self._over.is_set() and not isinstance(self._driver, NoNvml):
            found, at = self._watch.look(), self._clock.monotonic()
            self._read = found, at
            self._post(DevicesSeen(found, at))
            self._beat()
            self._over.wait(self._every_seconds)

    def readings(self) -> tuple[DeviceReading, ...]:
        """The newest, none where the driver has not answered for long."""
        found, at = self._read
        return found if self._clock.monotonic() - at < _OLD_SECONDS else ()

    @property
    def answers(self) -> bool | None:
        """Whether the driver answers; None on a machine without one."""
        if isinstance(self._driver, NoNvml):
            return None
        fresh = self._clock.monotonic() - self._read[1] < _OLD_SECONDS
        return fresh and self._driver.reason is None

    def close(self) -> None:
        """Have the thread end; one that hangs in the driver is left there."""
        self._over.set()
