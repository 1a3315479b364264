"""Time: the only module that asks for it, so that every other one can be tested without waiting.

Pure code takes time as an argument; edges and the daemon take a `Clock`.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds, all of them."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment, never set back: for durations and deadlines."""

    def wall(self) -> float:
        """Seconds since 1970 UTC: for what people read, never for durations."""

    def sleep(self, seconds: float) -> None:
        """Let at least that many seconds pass."""


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
