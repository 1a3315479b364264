"""Which of a hook's footprints may be believed, and what of them a forecast is made from.

A batch is described by its rise: its peak over what was in use when it began. The floor beneath the
rises is looked at by itself, because it moves for other reasons: the optimizer's state comes into
being, libraries prepare themselves for each new size of images, the heap of a CPU is not given back
at once.

What cannot be is left out rather than repaired: more than the process ever had in use, counters
that went backwards, a process that became another program. Nothing here asks when something was
seen, so that a clock that is set changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from yolowatch.decide.forecast_line import Point
from yolowatch.model.run import Footprint, RunState

_SETTLED_SAMPLES = 5  # over which the capacity must be the same
_SETTLED = 0.02  # part of it by which it may differ meanwhile
_ROUGHLY = 0.02  # by which a mark of the CPU's data pages may differ from look to look
_SINCE_A_SAMPLE = 8  # footprints
_FIRST_OF_A_SIZE = 0.25  # what such a batch is worth: it prepares what later ones find
_MOST_POINTS = 64
_RECENT = 4


@dataclass(frozen=True)
class Floor:
    """What is in use between two batches: now, and what each new size of images adds to it."""

    bytes: int
    per_size_bytes: float
    sizes: int  # that were seen
    deviation: float


def believable(state: RunState) -> tuple[Footprint, ...]:
    """The footprints of the program that runs now; none where counters went backwards."""
    samples = state.samples
    for before, after in pairwise(samples):
        if _went_back(before.place.step, after.place.step):
            return ()
        peaks = before.memory.peak_bytes, after.memory.peak_bytes
        if _went_back(*peaks, part=_ROUGHLY):
            return ()
    lifetime = state.memory.peak_bytes
    prints = state.footprints
    if lifetime is not None:
        # None can have taken more than the process ever had: those were another program's.
        strangers = [
            i for i, each in enumerate(prints) if each.peak_bytes > (1.0 + _ROUGHLY) * lifetime
        ]
        # What came since the newest sample may rightly be more.
        if strangers and strangers[-1] < len(prints) - _SINCE_A_SAMPLE:
            prints = prints[strangers[-1] + 1 :]
    return prints


def _went_back(before: int | None, after: int | None, part: float = 0.0) -> bool:
    return before is not None and after is not None and after < before * (1.0 - part)


def settled_capacity(state: RunState) -> int | None:
    """The capacity, unless it changes under the training: then a probability would be a guess."""
    capacity = state.memory.capacity_bytes
    if capacity is None or capacity <= 0:
        return None
    recent = [each.memory.capacity_bytes for each in state.samples[-_SETTLED_SAMPLES:]]
    known = [each for each in recent if each is not None] or [capacity]
    return capacity if max(known) - min(known) <= _SETTLED * capacity else None


def rises(prints: Sequence[Footprint], phase: str) -> list[Point]:
    """The rise of each batch whose peak was its own: over pixels, and over boxes times pixels."""
    points: list[Point] = []
    seen: set[int] = set()
    for each in prints:
        if each.phase != phase or each.pixels <= 0 or each.base_bytes is None:
            continue
        first, rise = each.pixels not in seen, each.peak_bytes - each.base_bytes
        seen.add(each.pixels)
        if each.exact and rise > 0:
            weight = _FIRST_OF_A_SIZE if first else 1.0
            points.append(Point(each.pixels, density(each), rise, weight))
    return points[-_MOST_POINTS:]


def held(prints: Sequence[Footprint]) -> list[Point]:
    """What the forward passes held at their end: known of every size, and less than the peak."""
    points = [
        Point(each.pixels, density(each), each.peak_bytes - each.base_bytes)
        for each in prints
        if each.phase == "forward" and each.pixels > 0 and each.base_bytes is not None
    ]
    return [each for each in points if each.y > 0][-_MOST_POINTS:]


def density(each: Footprint) -> float:
    """Boxes times the pixels of one image: what the assignment of boxes to places grows with."""
    return float((each.boxes or 0) * each.height * each.width)


def floor(prints: Sequence[Footprint], pending_bytes: int) -> Floor | None:
    """The floor now, and how it moved; None before a batch was measured.

    `pending_bytes` of optimizer's state is still to come.
    """
    begun = [each for each in prints if each.phase == "forward" and each.base_bytes is not None]
    if not begun:
        return None
    bases = [each.base_bytes or 0 for each in begun]
    sizes = len({(each.height, each.width) for each in begun})
    recent = bases[-_RECENT:] if len(bases) > _RECENT else bases[1:] or bases
    now = max(recent)
    # The first batch begins before gradients and state exist: its floor says nothing of growth.
    grown = now - bases[min(1, len(bases) - 1)]
    per_size = max(grown, 0) / (sizes - 1) if sizes > 1 else 0.0
    return Floor(now + pending_bytes, per_size, sizes, (now - min(recent)) / 2)


def repeated(prints: Sequence[Footprint], pixels: int) -> bool:
    """Whether a batch of so many pixels came again without a rise of the highest mark."""
    seen = [each for each in prints if each.phase == "backward" and each.pixels >= pixels]
    return any(not each.exact for each in seen[1:])
