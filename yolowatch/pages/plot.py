"""The curve of a run's memory as geometry: numbers in, coordinates and paths out.

What it draws is decided by the templates. A window is drawn by the most that was held in it,
because a peak of a tenth of a second is what a training dies of. A gap stays a gap: nothing is
drawn where nothing was said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from yolowatch.model.quantity import bytes_text
from yolowatch.model.story import Failure, Point

_GAP_SECONDS = 8.0  # without a word: longer than the windows of any hook
_HEADROOM = 1.10  # of the plot above the highest value
_MINIMUM_SECONDS = 30.0
_STEPS_SECONDS = (5, 10, 15, 30, 60, 120, 180, 300, 600, 1200, 1800, 3600)


@dataclass(frozen=True)
class Frame:
    """The size of a plot in pixels, and what its axes take of it."""

    width: int
    height: int
    left: int = 62
    right: int = 14
    top: int = 26
    bottom: int = 30
    ticks: int = 7  # along the time, at most

    @property
    def floor(self) -> int:
        return self.height - self.bottom

    @property
    def edge(self) -> int:
        return self.width - self.right


WIDE = Frame(880, 300)
NARROW = Frame(336, 240, left=52, right=8, ticks=4)
SPARK = Frame(150, 36, left=1, right=1, top=3, bottom=2)


@dataclass(frozen=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True)
class Curve:
    """An attempt's memory between two gaps: its outline, and the area beneath it."""

    line: str
    area: str
    later: bool  # after the failure


@dataclass(frozen=True)
class Plot:
    frame: Frame
    curves: tuple[Curve, ...]
    reserved: tuple[str, ...]
    across: tuple[Tick, ...]  # x
    upward: tuple[Tick, ...]  # y
    capacity_y: float | None = None
    predicted_y: float | None = None
    failure_x: float | None = None
    wanted_y: float | None = None  # what the failed allocation would have come to
    held_y: float | None = None


def plot(
    points: Sequence[Point],
    frame: Frame,
    *,
    failure: Failure | None = None,
    capacity_bytes: int | None = None,
    predicted_bytes: int | None = None,
) -> Plot | None:
    """The plot of these points, oldest first; None where none says anything."""
    known = [each for each in points if _height(each) is not None]
    if not known:
        return None
    held = failure.allocated_bytes if failure is not None else None
    wanted = None
    if failure is not None and held is not None and failure.requested_bytes is not None:
        wanted = held + failure.requested_bytes
    limits = [capacity_bytes, predicted_bytes, held, *map(_height, known)]
    limits += [each.reserved_bytes for each in known]
    top = max(each for each in limits if each is not None) * _HEADROOM or 1.0
    last = known[-1].at if failure is None else max(known[-1].at, failure.at)
    first = min(known[0].at, last - _MINIMUM_SECONDS)
    scale = _Scale(frame, first, last, top)
    zero = failure.at if failure is not None else last

    def level(count: int | None) -> float | None:
        return None if count is None else scale.y(min(count, top))

    return Plot(
        frame,
        tuple(_curves(known, scale, failure)),
        tuple(_reserved(known, scale)),
        tuple(_across(scale, zero)),
        tuple(_upward(scale)),
        level(capacity_bytes),
        level(predicted_bytes),
        scale.x(failure.at) if failure is not None else None,
        level(wanted),
        level(held),
    )


def _height(point: Point) -> int | None:
    return point.peak_bytes if point.peak_bytes is not None else point.allocated_bytes


@dataclass(frozen=True)
class _Scale:
    frame: Frame
    first: float
    last: float
    top: float

    def x(self, at: float) -> float:
        part = (at - self.first) / (self.last - self.first)
        return round(self.frame.left + part * (self.frame.edge - self.frame.left), 1)

    def y(self, count: float) -> float:
        part = count / self.top
        return round(self.frame.floor - part * (self.frame.floor - self.frame.top), 1)


def _curves(points: Sequence[Point], scale: _Scale, failure: Failure | None) -> Iterator[Curve]:
    for stretch in _stretches(points):
        places = [(scale.x(each.at), scale.y(_height(each) or 0)) for each in stretch]
        later = failure is not None and stretch[0].at > failure.at
        end = failure if failure is not None and not later else None
        ends = end is not None and 0 <= end.at - stretch[-1].at <= _GAP_SECONDS
        if end is not None and ends and end.allocated_bytes is not None:
            places.append((scale.x(end.at), scale.y(end.allocated_bytes)))
        if len(places) == 1:  # a single window is drawn as a short line
            places = [(places[0][0] - 1, places[0][1]), (places[0][0] + 1, places[0][1])]
        line = _path(places)
        floor = scale.frame.floor
        area = f"{line}L{places[-1][0]:g} {floor}L{places[0][0]:g} {floor}Z"
        yield Curve(line, area, later)


def _reserved(points: Sequence[Point], scale: _Scale) -> Iterator[str]:
    """Where it is told and is not simply what was allocated, as on the CPU."""
    if all(each.reserved_bytes in (None, each.allocated_bytes) for each in points):
        return
    for stretch in _stretches([each for each in points if each.reserved_bytes is not None]):
        if len(stretch) > 1:
            yield _path([(scale.x(each.at), scale.y(each.reserved_bytes or 0)) for each in stretch])


def _stretches(points: Iterable[Point]) -> Iterator[list[Point]]:
    stretch: list[Point] = []
    for each in points:
        if stretch:
            gap = each.at - stretch[-1].at > _GAP_SECONDS
            if gap or each.attempt != stretch[-1].attempt:
                yield stretch
                stretch = []
        stretch.append(each)
    if stretch:
        yield stretch


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places)


def _across(scale: _Scale, zero: float) -> Iterator[Tick]:
    """Round numbers of seconds or minutes before and after the failure."""
    whole = scale.last - scale.first
    fitting = (each for each in _STEPS_SECONDS if whole / each <= scale.frame.ticks)
    step = next(fitting, math.ceil(whole / scale.frame.ticks / 3600) * 3600)
    for number in range(
        math.ceil((scale.first - zero) / step), math.floor((scale.last - zero) / step) + 1
    ):
        yield Tick(scale.x(zero + number * step), _ago(number * step))


def _ago(seconds: int) -> str:
    if seconds == 0:
        return "0"
    sign = "−" if seconds < 0 else "+"
    away = abs(seconds)
    if away < 60:
        return f"{sign}{away} s"
    if away < 3600:
        return f"{sign}{away / 60:g} min"
    return f"{sign}{away / 3600:.3g} h"


def _upward(scale: _Scale) -> Iterator[Tick]:
    """Four or so round amounts of memory, none of them zero."""
    unit = 1024.0 ** max(int(math.log(scale.top, 1024)), 0)
    rough = scale.top / unit / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each for each in (1, 2, 2.5, 5, 10) if each * power >= rough) * power * unit
    for number in range(1, math.floor(scale.top / step) + 1):
        yield Tick(scale.y(number * step), _round(number * step))


def _round(count: float) -> str:
    """`10 GiB` rather than `10.0 GiB`."""
    return bytes_text(count).replace(".0 ", " ")
