"""The GPUs as they were a moment ago, asked for in a thread of its own: a driver may hang."""

from __future__ import annotations

import threading

from yolowatch.edges.clock import Clock
from yolowatch.edges.nvml import DeviceReading, Nvml

_EVERY_SECONDS = 2.0
_OLD_SECONDS = 30.0  # older readings are not shown: unknown is better than what was


class Devices:
    """`work` is what the thread does until `close`; `readings` is called by the loop."""

    def __init__(self, driver: Nvml, clock: Clock, every_seconds: float = _EVERY_SECONDS) -> None:
        self._driver, self._clock, self._every_seconds = driver, clock, every_seconds
        self._over = threading.Event()
        self._read: tuple[tuple[DeviceReading, ...], float] = ((), clock.monotonic())

    def work(self) -> None:
        while not self._over.is_set():
            self._read = (self._driver.devices(), self._clock.monotonic())
            if self._driver.reason is not None and not self._read[0]:
                return  # there is no driver, and none comes while this machine runs
            self._over.wait(self._every_seconds)

    def readings(self) -> tuple[DeviceReading, ...]:
        """The newest, none where the driver has not answered for long."""
        found, at = self._read
        return found if self._clock.monotonic() - at < _OLD_SECONDS else ()

    def close(self) -> None:
        """Have the thread end; one that hangs in the driver is left there."""
        self._over.set()
