"""How much memory a batch of a given size will take: one law a phase, fitted to what the hook saw.

`peak = fixed + per_pixel * batch * height * width`. A remedy makes batches smaller, so the figure
that matters is the slope, and a slope that is too steep promises too much. It is taken where it is
clean, from one batch's own rise over what was in use when it began, is limited by the trend over
sizes and never below what the forward passes held; the rest of the highest peak counts as fixed.

The CPU is special: its heap does not shrink between batches and goes on growing for some epochs, so
that every phase adds to one high-water mark. There only the first rises tell the slope, the mark of
the whole process is what has to fit, and a part of the growth so far is expected again, the less
the more epochs it has seen. tests/decide/test_forecast.py holds this to recorded real trainings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from yolowatch.decide.forecast_boxes import denser, with_densest
from yolowatch.decide.texts import parse_capacity
from yolowatch.model.plan import Law
from yolowatch.model.run import Footprint, LastWords, RunState

_SPREAD = 1.2  # ratio of the largest to the smallest size from which a trend over sizes is one
_HEAP_GROWTH = 0.5
_STEP_PHASES = ("forward", "loss", "backward")


@dataclass(frozen=True)
class Laws:
    """The laws of one attempt; `weak` says that the training law is a bound and no measurement."""

    training: Law | None = None
    validation: Law | None = None
    weak: bool = True
    notes: tuple[str, ...] = ()
    dense: bool = False  # the batch that failed had more boxes than any before
    halvings: int = 1  # that a mere bound asks for at least

    def as_bound(self) -> Laws:
        """These laws, after a prediction by one of them has failed: half was not enough then.

        Of boxes the next batch may have far more still.
        """
        return replace(self, weak=True, halvings=2 if self.dense else 1)


@dataclass(frozen=True)
class Peaks:
    """Predicted bytes of one training batch and of one validation batch; None is unknown."""

    training: int | None
    validation: int | None

    @property
    def highest(self) -> int | None:
        known = [each for each in (self.training, self.validation) if each is not None]
        return max(known) if known else None


def peak(
    laws: Laws,
    *,
    batch: int,
    image_pixels: int,
    validation_batch: int | None = None,
    validation_image_pixels: int | None = None,
) -> Peaks:
    """What `batch` images of `image_pixels` (height x width) take, and the validation beside it."""
    training = laws.training.peak_bytes(batch * image_pixels) if laws.training else None
    validation = None
    if laws.validation and validation_batch is not None:
        pixels = validation_batch * (validation_image_pixels or image_pixels)
        validation = laws.validation.peak_bytes(pixels)
    return Peaks(training, validation)


def needed_at_failure(words: LastWords) -> int | None:
    """Bytes that did not fit: in use plus requested, or None when either is unknown.

    Less than the capacity means that the memory was there but not in one piece.
    """
    figures = parse_capacity(words.text)
    allocated = figures.allocated if figures.allocated is not None else words.memory.allocated_bytes
    requested = figures.requested if figures.requested is not None else words.requested_bytes
    return None if allocated is None or requested is None else allocated + requested


def fit(state: RunState, most_boxes: int | None = None) -> Laws:
    """The laws that an attempt's footprints and failure allow; `notes` say on what they rest.

    `most_boxes` are those of the densest image of the data set, where they are known.
    """
    notes: list[str] = []
    training, weak = _fit_training(state, notes)
    training, weak = _correct_training(state, training, weak, notes)
    pending, known = _pending_state_bytes(state)
    if training is not None and pending:
        training = replace(training, fixed_bytes=training.fixed_bytes + pending)
        notes.append("the optimizer's state, which does not exist yet, is added to the law")
    if training is not None and not known:
        weak = True
        notes.append("how large the optimizer's state will be is not known")
    validation = _fit_validation(state, training, notes)
    if training is not None:
        training = with_densest(training, state, most_boxes)
    words = state.last_words
    dense = words is not None and denser(state, words)
    return Laws(training, validation, weak or training is None, tuple(notes), dense)


def _fit_training(state: RunState, notes: list[str]) -> tuple[Law | None, bool]:
    seen = [each for each in state.footprints if each.phase == "backward" and each.pixels > 0]
    exact = [each for each in seen if each.exact]
    if not exact:
        notes.append("no whole training batch was measured")
        return None, True
    forward = [f for f in state.footprints if f.phase == "forward" and f.pixels > 0]
    held = _steepest(forward)
    gradients = state.spec.parameter_bytes if state.spec is not None else None
    rise = _steepest(exact, less_bytes=gradients)
    trend = _trend(exact)
    weak = gradients is None
    if gradients is None and held is not None:
        rise = held  # what of the rise are gradients is not known: only the forward pass is sure
    slopes = [each for each in (rise, trend) if each is not None and each > 0]
    if not slopes:
        slopes, weak = [held or 0.0], True
    slope = max(min(slopes), held or 0.0)
    largest, highest = _largest_and_highest(state, seen)
    floor = _floor_bytes(state)
    fixed = highest - slope * largest
    if fixed < (floor or 0.0):
        # More than everything above the floor cannot depend on the batch.
        fixed = float(floor or 0)
        slope = max(highest - fixed, 0.0) / largest
    elif _on_cpu(state):
        saves = sum(each.phase == "save" for each in state.footprints)
        grown = max(fixed - _settled_bytes(state, floor or 0), 0.0)
        fixed += _HEAP_GROWTH * grown / (1 + saves)
        notes.append("the heap of the CPU is expected to grow on, the less the longer it ran")
    if floor is None:
        weak = True
        notes.append("what is in use between two batches is not known")
    if weak:
        notes.append("too little is known to tell what does not depend on the batch")
    law = Law("backward", fixed, slope, len(exact))
    return replace(law, residual_bytes=_residual(law, exact)), weak


def _largest_and_highest(state: RunState, seen: list[Footprint]) -> tuple[int, int]:
    """(pixels of the largest training batch, the highest peak that it has to explain)."""
    largest = max(each.pixels for each in seen)
    highest = max(each.peak_bytes for each in seen)
    if not _on_cpu(state):
        return largest, highest
    highest = max(each.peak_bytes for each in state.footprints)
    words = state.last_words
    if words is not None and words.place.phase == "validation":
        return largest, highest  # the mark of the process has the failed validation in it
    marks = [each.memory.peak_bytes for each in state.samples]
    if words is not None:
        marks.append(words.memory.peak_bytes)
        if words.place.phase in _STEP_PHASES:
            largest = max(largest, words.place.pixels or 0)
    return largest, max([highest, *(mark for mark in marks if mark is not None)])


def _steepest(points: list[Footprint], less_bytes: int | None = 0) -> float | None:
    """Bytes a pixel of the batch that rose most over what was in use when it began.

    `less_bytes` of the rise are the gradients, which do not depend on the batch.
    """
    rises = [(p.peak_bytes - p.base_bytes, p.pixels) for p in points if p.base_bytes is not None]
    if not rises:
        return None
    rise, pixels = max(rises)
    return max(rise - min(less_bytes or 0, rise / 2), 0) / pixels


def _trend(points: list[Footprint]) -> float | None:
    """The least-squares slope over sizes, or None when the sizes are too much alike."""
    highest: dict[int, int] = {}
    largest = 0
    for each in points:
        # A rise at a size below the largest so far is growth of something else.
        if each.pixels >= largest:
            largest = each.pixels
            highest[each.pixels] = max(each.peak_bytes, highest.get(each.pixels, 0))
    if len(highest) < 2 or max(highest) < _SPREAD * min(highest):
        return None
    mean_x = sum(highest) / len(highest)
    mean_y = sum(highest.values()) / len(highest)
    spread: float = sum((x - mean_x) ** 2 for x in highest)
    together: float = sum((x - mean_x) * (y - mean_y) for x, y in highest.items())
    return together / spread


def _residual(law: Law, points: list[Footprint]) -> float:
    squares = sum(float(p.peak_bytes - law.peak_bytes(p.pixels)) ** 2 for p in points)
    return math.sqrt(squares / len(points))


def _correct_training(
    state: RunState, law: Law | None, weak: bool, notes: list[str]
) -> tuple[Law | None, bool]:
    """The failure itself is a measurement: at its size at least so much was needed."""
    words = state.last_words
    if words is None or words.place.phase not in _STEP_PHASES:
        return law, weak
    pixels, needed = words.place.pixels, needed_at_failure(words)
    if needed is None:
        needed = words.memory.capacity_bytes
    if not pixels or needed is None:
        return law, weak
    if law is None:
        floor = min(_floor_bytes(state) or 0, needed)
        notes.append("the law rests on the failed batch alone: it needed at least what was there")
        return Law("backward", float(floor), (needed - floor) / pixels, 1), True
    missing = needed - law.peak_bytes(pixels)
    if missing <= 0:
        return law, weak
    largest = max((f.pixels for f in state.footprints if f.phase == "backward"), default=0)
    if pixels > largest:
        notes.append("the failure at a size not measured before makes the law steeper")
        return replace(law, per_pixel_bytes=(needed - law.fixed_bytes) / pixels), weak
    if denser(state, words):
        # A table of boxes and places grew, of which a smaller batch has a smaller one.
        notes.append("the failed batch had more boxes than any before: the law is made steeper")
        return replace(law, per_pixel_bytes=(needed - law.fixed_bytes) / pixels), weak
    # Batches as large as this one did fit before: what grew does not go by size.
    notes.append("the failure at a size that fitted before raises the law as a whole")
    return replace(law, fixed_bytes=law.fixed_bytes + missing), weak


def _fit_validation(state: RunState, training: Law | None, notes: list[str]) -> Law | None:
    seen = [each for each in state.footprints if each.phase == "validation" and each.pixels > 0]
    exact = [each for each in seen if each.exact]
    if seen and not exact:
        notes.append("validation never took more than training did")
    fixed = training.fixed_bytes if training is not None else _floor_bytes(state)
    law = None
    for each in exact:
        known = [b for b in (each.base_bytes, fixed) if b is not None]
        if not known:
            continue
        base = min(known)
        slope = max(each.peak_bytes - base, 0) / each.pixels
        if law is None or slope > law.per_pixel_bytes:
            law = Law("validation", float(base), slope, len(exact))
    words = state.last_words
    if words is None or words.place.phase != "validation" or not words.place.pixels:
        return law
    needed = needed_at_failure(words)
    needed = words.memory.capacity_bytes if needed is None else needed
    if needed is None:
        return law
    if law is None:
        law = Law("validation", min(float(fixed or 0), needed), 0.0, 1)
    if law.peak_bytes(words.place.pixels) < needed:
        slope = (needed - min(law.fixed_bytes, needed)) / words.place.pixels
        law = replace(law, per_pixel_bytes=slope)
    return law


def _floor_bytes(state: RunState) -> int | None:
    """The least that was in use when a training batch began."""
    bases = [
        each.base_bytes
        for each in state.footprints
        if each.phase in ("forward", "backward") and each.base_bytes is not None
    ]
    return min(bases) if bases else None


def _settled_bytes(state: RunState, floor: int) -> int:
    """What would be in use between two batches if the heap gave back what is free."""
    spec = state.spec
    parts = (spec.optimizer_state_bytes, spec.parameter_bytes) if spec is not None else ()
    return floor + sum(part for part in parts if part is not None)


def _on_cpu(state: RunState) -> bool:
    device = state.spec.device if state.spec is not None else None
    return device is not None and device.startswith("cpu")


def _pending_state_bytes(state: RunState) -> tuple[int, bool]:
    """(bytes of optimizer state still to come, whether that is known)."""
    stepped = any(each.phase == "optimizer" for each in state.footprints)
    exists = state.spec.optimizer_state_exists if state.spec is not None else None
    if stepped or exists:
        return 0, True
    size = state.spec.optimizer_state_bytes if state.spec is not None else None
    return (0, False) if size is None else (size, True)
