"""What comes after the first training batches: the optimizer's first step, validation, saving.

Each is described by its rise over the floor, as a training batch is. Before any was seen there is
only a belief, from what trainers do: a validation keeps nothing for a backward pass, so that it
takes a part of what a training batch of its size takes. On a CPU, where everything that the process
loads counts, the belief also has what the trainers load and copy then. The figures are those of
the recorded trainings in tests/decide; one that was seen since replaces its belief.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from yolowatch.decide.forecast_line import Belief, Line, Prediction, fit_line
from yolowatch.decide.forecast_points import Floor, rises
from yolowatch.model.forecast import Lesson
from yolowatch.model.run import Footprint, RunSpec, RunState

NOISE, NOISE_WORTH = 0.02, 10.0  # of the largest rise, before anything is known of the noise
_MIB = 1 << 20
# The part of a training batch's slope that a validation batch takes, and how far that may be off.
# On a GPU yolov9 computes its loss there too: yolov9-e at 640 px took 7.3 GB before, 13.4 with it.
_SHARE = {"yolov9": (0.7, 0.3), "yolov5": (0.34, 0.15), "ultralytics": (0.3, 0.15)}
_SHARE_ON_CPU = (0.335, 0.02)
# What is loaded for it, and how far that may be off for each image; yolov9 computes its loss, too.
_VALIDATION_ON_CPU = {"yolov9": 8.5 * _MIB}
_ANY_VALIDATION_ON_CPU, _DOUBT_AN_IMAGE = 4.0 * _MIB, 0.1 * _MIB
_IMAGES_ON_CPU = 24.0  # bytes a pixel: twice three channels of 4 bytes, kept between batches
# What a first save loads: ultralytics writes its checkpoint with a library for tables.
_SAVE_ON_CPU = {"ultralytics": 92.0 * _MIB}
_SAVE_DOUBT = 14.0 * _MIB
_COPIES = 2.0  # of the parameters, while a checkpoint is written


def validation_pixels(spec: RunSpec, prints: Sequence[Footprint]) -> int | None:
    """Pixels of the largest validation batch: rectangular images may be a stride larger."""
    if not spec.validation_batch or not spec.image_size:
        return None
    seen = [each.pixels for each in prints if each.phase == "validation"]
    side = spec.image_size + (spec.stride or 0)
    return max([spec.validation_batch * side**2, *seen])


def validation(
    state: RunState,
    spec: RunSpec,
    prints: Sequence[Footprint],
    line: Line,
    ground: Floor,
    lesson: Lesson | None,
) -> Prediction | None:
    """The peak of a validation batch; None where its size is not known."""
    pixels = validation_pixels(spec, prints)
    if pixels is None:
        return None
    cpu, seen = on_cpu(spec), [each for each in prints if each.phase == "validation"]
    share, doubt = _SHARE_ON_CPU if cpu else _SHARE.get(spec.trainer, (0.5, 0.5))
    slope = max(line.coefficients[1], 0.0)
    belief = Belief(share * slope, doubt * slope)
    if lesson is not None and lesson.validation_bytes_per_pixel is not None:
        known = lesson.validation_bytes_per_pixel
        belief = Belief(known, 0.05 * known)
    points = rises(prints, "validation")
    largest = max([each.y for each in points] + [belief.value * pixels])
    law = fit_line(
        points,
        (Belief(0.0, 1.0), belief, Belief(0.0, 0.001)),
        noise=NOISE * largest or 1.0,
        noise_freedom=NOISE_WORTH,
    )
    rise = law.at(pixels)
    loaded = doubted = 0.0
    if cpu and not seen:
        loaded = _VALIDATION_ON_CPU.get(spec.trainer, _ANY_VALIDATION_ON_CPU)
        loaded, doubted = (
            loaded + _IMAGES_ON_CPU * pixels,
            _DOUBT_AN_IMAGE * (spec.validation_batch or 0),
        )
    scale = math.hypot(rise.scale, doubted)
    found = Prediction(ground.bytes + loaded + rise.value, scale, rise.freedom)
    lifetime = state.memory.peak_bytes
    if seen and not points and lifetime is not None and found.value > lifetime:
        # It came, and the mark of the process did not rise: it takes less than training did.
        return Prediction(float(lifetime), 0.0, rise.freedom)
    return found


def save(
    spec: RunSpec, prints: Sequence[Footprint], ground: Floor, validated: Prediction | None
) -> Prediction | None:
    """The first save on a CPU, and the validation of what was saved, which comes on top of it.

    On a GPU a save takes less than a step did. None once one was seen.
    """
    if not on_cpu(spec) or any(each.phase == "save" for each in prints):
        return None
    if spec.parameter_bytes is None:
        return None
    beyond = _SAVE_ON_CPU.get(spec.trainer, 0.0)
    copies = _COPIES * spec.parameter_bytes
    again = 0.0
    if validated is not None:
        # Ultralytics fuses the layers of what it validates in the end: half of them are left.
        part = 0.5 if spec.trainer == "ultralytics" else 1.0
        again = part * (validated.value - ground.bytes)
    value = ground.bytes + beyond + copies + again
    doubt = _SAVE_DOUBT if beyond else 0.2 * copies
    scale = max(doubt, validated.scale if validated is not None else 0.0)
    return Prediction(value, scale, 3 * NOISE_WORTH)


def first_step(state: RunState, spec: RunSpec, ground: Floor) -> tuple[Prediction, int] | None:
    """The first step of the optimizer makes its state, beside all gradients; from which batch."""
    gradients = spec.parameter_bytes
    if gradients is None:
        return None
    found = Prediction(float(ground.bytes + gradients), 0.02 * gradients, NOISE_WORTH)
    accumulate = state.place.accumulate or spec.accumulate or 1
    return found, max(state.place.step or 0, accumulate - 1)


def end_of_epoch(state: RunState, spec: RunSpec) -> int | None:
    """The training batch at which the epoch that runs is complete."""
    if not spec.train_images or not spec.batch:
        return None
    batches = -(-spec.train_images // spec.batch)
    return ((state.place.step or 0) // batches + 1) * batches


def on_cpu(spec: RunSpec) -> bool:
    """Whether the CPU is the device that is trained on."""
    return spec.device is not None and spec.device.startswith("cpu")
