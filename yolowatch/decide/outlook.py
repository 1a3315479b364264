"""What is still to come of a training that runs: how much memory, how likely too much, and when.

From the rises of the first batches a line with its uncertainty is fitted (`forecast_line`), and is
asked at what has not happened yet: the largest size of the range, the validation, the first step of
the optimizer, a batch full of the densest image of the data set. Unlike `forecast.fit`, which is to
choose a smaller batch after a failure and is cautious about slopes, this one says what is expected
and what is exceeded once in a hundred times. It acts on nothing; whoever does, weighs both.

What is not known makes no number: without a measured batch there is no outlook, without a capacity
that stands still no probability.
"""

from __future__ import annotations

import math

from yolowatch.decide.forecast_boxes import MOSAIC, assignment
from yolowatch.decide.forecast_later import (
    NOISE,
    NOISE_WORTH,
    end_of_epoch,
    first_step,
    save,
    validation,
)
from yolowatch.decide.forecast_line import Belief, Line, Prediction, fit_line
from yolowatch.decide.forecast_points import (
    Floor,
    believable,
    density,
    floor,
    held,
    repeated,
    rises,
    settled_capacity,
)
from yolowatch.model.forecast import Forecast, Lesson, Outlook
from yolowatch.model.run import Footprint, RunSpec, RunState

_BOUND = 0.99
_AS_FAR_AS = 2.33  # deviations from the middle that the bound is, where much is known


def foresee(
    state: RunState, *, lesson: Lesson | None = None, most_boxes: int | None = None
) -> Forecast:
    """What is to come of the attempt that says `state`.

    `most_boxes` are those of the densest image of the data set, where they are known.
    """
    spec = state.spec
    if spec is None:
        return Forecast((), ("what is trained is not known yet",))
    prints = believable(state)
    if state.footprints and not prints:
        return Forecast((), ("counters went backwards, so that nothing is forecast",))
    pending = _pending_bytes(spec, prints)
    ground = floor(prints, pending or 0)
    measured = rises(prints, "backward")
    if ground is None or (not measured and lesson is None):
        return Forecast((), ("no whole training batch was measured yet",))
    line = training_line(prints, spec, lesson)
    seen = max((each.peak_bytes for each in prints), default=0)
    capacity = settled_capacity(state)
    known = []
    trained = _training(state, spec, prints, line, ground, seen, most_boxes, capacity)
    if trained is not None:
        known.append(trained)
    ends = end_of_epoch(state, spec)
    validated = validation(state, spec, prints, line, ground, lesson)
    if validated is not None:
        top = max((each.peak_bytes for each in prints if each.phase == "validation"), default=0)
        known.append(_outlook("validation", validated, top, capacity, ends))
    begun = first_step(state, spec, ground) if pending else None
    if begun is not None:
        known.append(_outlook("optimizer", begun[0], 0, capacity, begun[1]))
    known.sort(key=lambda each: (-(each.probability or 0.0), -(each.bound_bytes or 0)))
    saved = save(spec, prints, ground, validated)
    later = None if saved is None else _outlook("save", saved, 0, None, ends)
    return Forecast(tuple(known), _notes(lesson, capacity, pending), later)


def training_line(prints: tuple[Footprint, ...], spec: RunSpec, lesson: Lesson | None) -> Line:
    """The line of the training's rises over pixels and over boxes."""
    points = rises(prints, "backward")
    largest = max((each.y for each in points), default=0.0)
    gradients = spec.parameter_bytes
    # At the peak of a step a part of the gradients exists, at most all of them.
    fixed = None if gradients is None else Belief(gradients / 2, gradients / 2 + 1.0)
    slope = None
    floor_of_slope = [each.y / each.x for each in held(prints)]
    if floor_of_slope:
        # What the forward pass holds is a part of the peak: a first idea where one size was seen.
        middle = 1.3 * sorted(floor_of_slope)[len(floor_of_slope) // 2]
        slope = Belief(middle, 0.3 * middle)
    if lesson is not None:
        known = lesson.training_bytes_per_pixel
        slope = Belief(known, 0.05 * known)
        fixed = Belief(lesson.training_fixed_bytes, 0.1 * lesson.training_fixed_bytes + 1.0)
        largest = max(largest, known * max((each.pixels for each in prints), default=1))
    boxes = Belief(assignment(spec), 0.5 * assignment(spec) + 0.1)
    return fit_line(
        points, (fixed, slope, boxes), noise=NOISE * (largest or 1.0), noise_freedom=NOISE_WORTH
    )


def _training(
    state: RunState,
    spec: RunSpec,
    prints: tuple[Footprint, ...],
    line: Line,
    ground: Floor,
    seen: int,
    most_boxes: int | None,
    capacity: int | None,
) -> Outlook | None:
    """A whole batch of the largest images of the range, and of the densest of them."""
    shape = _largest(state, spec, prints)
    if shape is None:
        return None
    batch, height, width = shape
    trained = [each for each in prints if each.phase == "backward"]
    usual = max((density(e) / (e.height * e.width) for e in trained if e.pixels), default=0.0)
    densest = float(batch * most_boxes) if most_boxes and assignment(spec) else 0.0
    dense, mosaic = max(usual, densest), max(usual, MOSAIC * densest)
    rise = line.at(batch * height * width, dense * height * width)
    # That the densest image stands in a mosaic of such images belongs to the bound, not the point.
    more = line.at(batch * height * width, mosaic * height * width).value - rise.value
    grown = ground.per_size_bytes * _sizes_to_come(spec, ground)
    found = Prediction(
        ground.bytes + grown + rise.value,
        math.hypot(rise.scale, ground.deviation, grown / 2, more / _AS_FAR_AS),
        rise.freedom,
    )
    lifetime = state.memory.peak_bytes
    known = repeated(prints, batch * height * width) and not grown and dense <= usual
    if lifetime is not None and known:
        # It came again and the mark of the process did not rise: that is known better.
        point = min(found.value, float(lifetime))
        found = Prediction(point, NOISE * max(point - ground.bytes, 0.0), rise.freedom)
    return _outlook("backward", found, seen, capacity, state.place.step or 0)


def _outlook(
    phase: str, found: Prediction, seen: int, capacity: int | None, step: int | None
) -> Outlook:
    """The point is never less than what was seen already; that it fitted once is known."""
    point = max(found.value, float(seen))
    bound = max(found.quantile(_BOUND), point)
    likely = None
    if capacity is not None:
        likely = round(min(max(found.above(capacity), 0.0), 1.0), 4)
    return Outlook(phase, round(point), round(bound), likely, capacity, step)


def _largest(
    state: RunState, spec: RunSpec, prints: tuple[Footprint, ...]
) -> tuple[int, int, int] | None:
    """(batch, height, width) of the largest training batch that may come; None is unknown."""
    trained = [each for each in prints if each.phase == "backward" and each.pixels > 0]
    share = spec.batch // state.ranks if spec.batch else None
    batch = max([each.batch for each in trained] + ([share] if share else []), default=0)
    side = spec.image_size_max or spec.image_size
    if batch < 1:
        return None
    sides = [(each.height, each.width) for each in trained] + ([(side, side)] if side else [])
    if not sides:
        return None
    height, width = max(sides, key=lambda each: each[0] * each[1])
    return batch, height, width


def _sizes_to_come(spec: RunSpec, ground: Floor) -> int:
    """How many sizes of the range have not been seen."""
    least, most, stride = spec.image_size_min, spec.image_size_max, spec.stride
    if least is None or most is None or not stride:
        return 0
    return max((most - least) // stride + 1 - ground.sizes, 0)


def _pending_bytes(spec: RunSpec, prints: tuple[Footprint, ...]) -> int | None:
    """The optimizer's state where it does not exist yet; None where that is not known."""
    if spec.optimizer_state_exists or any(each.phase == "optimizer" for each in prints):
        return 0
    return spec.optimizer_state_bytes


def _notes(lesson: Lesson | None, capacity: int | None, pending: int | None) -> tuple[str, ...]:
    notes = []
    if lesson is not None:
        runs = "an earlier run" if lesson.runs == 1 else f"{lesson.runs} earlier runs"
        notes.append(f"{runs} of this kind taught a first guess")
    if capacity is None:
        notes.append("the capacity is not known or changes, so that no probability is given")
    if pending is None:
        notes.append("how large the optimizer's state will be is not known")
    return tuple(notes)
