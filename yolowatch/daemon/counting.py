"""Looks at a run's data set in a thread of its own: reading many files takes a while."""

from __future__ import annotations

from collections.abc import Callable

from yolowatch.edges.clock import Clock
from yolowatch.edges.labels import most_boxes
from yolowatch.model.actions import CountBoxes
from yolowatch.model.events import BoxesCounted


def count(request: CountBoxes, clock: Clock) -> BoxesCounted:
    """How many boxes the densest image has; unknown where that cannot be seen."""
    most = most_boxes(request.data, clock)
    return BoxesCounted(request.run, most, clock.monotonic())


def tell(request: CountBoxes, clock: Clock, put: Callable[[BoxesCounted], None]) -> None:
    """The same, for a thread of nobody's."""
    put(count(request, clock))
