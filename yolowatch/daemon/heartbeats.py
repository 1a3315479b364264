"""When each part of the daemon that works by itself was last seen alive.

A part beats after each round of its own; whoever looks judges how old a beat may be. Reading and
beating are single operations on one dictionary, so that no thread ever waits for another.
"""

from __future__ import annotations

from collections.abc import Callable

from yolowatch.edges.clock import Clock


class Heartbeats:
    """`beat` and `of` may be called from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}

    def beat(self, edge: str) -> None:
        """This part is alive now."""
        self._seen[edge] = self._clock.wall()

    def of(self, edge: str) -> Callable[[], None]:
        """What a part that knows nothing of the others calls."""
        return lambda: self.beat(edge)

    @property
    def seen(self) -> dict[str, float]:
        """Seconds since 1970 UTC by part, of those that have begun."""
        return dict(self._seen)
