"""The memory of each run in the last minutes, for plots: cheap enough to be kept always.

A point every two seconds for ten minutes; of the windows between two points the highest peak is
kept, so that nothing that killed a training is lost between them. It decides nothing, and a
successor of this daemon begins with what the samples of a memento still hold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from yolowatch.model.run import RunState, Sample
from yolowatch.model.story import Failure, Point

EVERY_SECONDS = 2.0
_POINTS = 300


class History:
    """One run's, all attempts in turn."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=_POINTS)
        self._until = float("-inf")  # of the windows, all up to here are in the points

    def look(self, state: RunState) -> None:
        """Take in what was said since the last point, once that is old enough."""
        if not state.samples:
            return
        newest = state.samples[-1].at
        if 0 <= newest - self._until < EVERY_SECONDS:
            return
        if newest < self._until:
            self._until = float("-inf")  # the clock began anew, or another process speaks
        fresh = list(_since(state.samples, self._until))
        self._points.append(_point(fresh, state.attempt))
        self._until = newest

    def points(self) -> tuple[Point, ...]:
        """All of them, oldest first."""
        return tuple(self._points)

    def with_end(self, state: RunState) -> tuple[Point, ...]:
        """All of them, and each window of the last seconds by itself."""
        tail = [_point([each], state.attempt) for each in state.samples]
        kept = [
            each
            for each in self._points
            if not tail or each.attempt != state.attempt or each.at < tail[0].at
        ]
        return (*kept, *tail)


def failure(state: RunState) -> Failure | None:
    """The moment of the last words; None where there were none."""
    words = state.last_words
    if words is None:
        return None
    place, held = words.place, words.memory.allocated_bytes
    if held is None:
        held = state.memory.allocated_bytes
    return Failure(
        words.at,
        held,
        words.requested_bytes,
        place.phase,
        place.epoch,
        place.step,
        place.batch,
        place.height,
        place.width,
    )


def _since(samples: Iterable[Sample], at: float) -> Iterator[Sample]:
    return (each for each in samples if each.at > at)


def _point(windows: list[Sample], attempt: int) -> Point:
    last = windows[-1]
    peaks = [each.allocated_max_bytes for each in windows]
    peaks += [each.memory.allocated_bytes for each in windows]
    return Point(
        last.at,
        attempt,
        last.memory.allocated_bytes,
        max((each for each in peaks if each is not None), default=None),
        last.memory.reserved_bytes,
        last.place.phase,
        last.place.epoch,
    )
