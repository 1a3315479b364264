"""Whether the loop turns, and whether what was left undone before a restart has been taken up.

The loop says both, the threads of the HTTP server ask; a supervisor that is told only by a thread
that lives anyway learns nothing.
"""

from __future__ import annotations

from yolowatch.edges.clock import Clock

STALLED_SECONDS = 10.0
"""The loop turns twice a second; an effect that it waits for takes a second or two."""


class Pulse:
    """`beat` and `recovered` are called by the loop, the rest from anywhere."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beat_at = clock.monotonic()
        self._ready = False

    def beat(self) -> None:
        """The loop turns."""
        self._beat_at = self._clock.monotonic()

    def recovered(self) -> None:
        """Every run of a daemon before this one is taken up."""
        self._ready = True

    def healthy(self) -> bool:
        """Whether the loop has turned of late."""
        return self._clock.monotonic() - self._beat_at < STALLED_SECONDS

    def ready(self) -> bool:
        """Whether everything is as it was before a restart, and the loop turns."""
        return self._ready and self.healthy()
