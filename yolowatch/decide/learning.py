"""What one training teaches the next one of its kind: the law of its memory, and what its kind is.

Two trainings are of a kind when everything that the memory of a batch depends on is the same. What
is not known makes no kind, and what was changed by a plan or measured too little teaches nothing:
a wrong first guess is worse than none.
"""

from __future__ import annotations

from yolowatch.decide.forecast_points import believable, rises
from yolowatch.decide.outlook import training_line
from yolowatch.model.forecast import LawKey, Lesson
from yolowatch.model.run import RunState

_ENOUGH = 3  # batches with a peak of their own
_MOST_RUNS = 4  # that an earlier lesson weighs at most: the newest counts for a fifth


def key_of(state: RunState) -> LawKey | None:
    """The kind of this training; None where a part of it is not known."""
    spec = state.spec
    if spec is None or spec.resumed or spec.checkpointed or spec.pruned:
        return None
    name = (spec.model or "").rpartition("/")[2]
    gpu = spec.gpu if (spec.device or "").startswith("cuda") else spec.device
    parts = (spec.trainer, name, spec.optimizer, spec.precision, state.torch, gpu)
    numbers = (spec.classes, spec.image_size, spec.parameter_bytes)
    if any(not each for each in (*parts, *numbers)):
        return None
    trainer, model, optimizer, precision, torch, device = map(str, parts)
    classes, image_size, parameter_bytes = (each or 0 for each in numbers)
    return LawKey(
        trainer, model, classes, optimizer, precision, image_size, torch, device, parameter_bytes
    )


def lesson_of(state: RunState, earlier: Lesson | None = None) -> Lesson | None:
    """What this training has taught, with what earlier ones had; None where that is too little."""
    prints, spec = believable(state), state.spec
    if spec is None or len(rises(prints, "backward")) < _ENOUGH:
        return earlier
    line = training_line(prints, spec, None)
    fixed, slope, _ = line.coefficients
    if slope <= 0.0:
        return earlier
    pixels = [each for each in rises(prints, "validation") if each.x > 0]
    validation = max((each.y / each.x for each in pixels), default=None)
    fresh = Lesson(slope, max(fixed, 0.0), validation, 1)
    return fresh if earlier is None else _together(earlier, fresh)


def _together(earlier: Lesson, fresh: Lesson) -> Lesson:
    weight = min(earlier.runs, _MOST_RUNS)

    def mean(before: float, now: float) -> float:
        return (before * weight + now) / (weight + 1)

    validation = fresh.validation_bytes_per_pixel
    if validation is None:
        validation = earlier.validation_bytes_per_pixel
    elif earlier.validation_bytes_per_pixel is not None:
        validation = mean(earlier.validation_bytes_per_pixel, validation)
    return Lesson(
        mean(earlier.training_bytes_per_pixel, fresh.training_bytes_per_pixel),
        mean(earlier.training_fixed_bytes, fresh.training_fixed_bytes),
        validation,
        earlier.runs + 1,
    )
