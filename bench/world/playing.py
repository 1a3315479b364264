"""Plays one training under one configuration, batch by batch, until it ends, fails or is told off.

Which sizes and boxes are drawn depends on the case, the attempt, the epoch and the batch alone, so
that two strategies that do the same see the same.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.world.nature import (
    Setting,
    Taken,
    optimizer_step,
    step_seconds,
    training_batch,
    validation_batch,
)
from bench.world.population import EPOCHS, MOSAIC_UNTIL, Case


@dataclass(frozen=True)
class Batch:
    """One batch as it was worked on: what a hook could see of it, and what it took."""

    phase: str  # "training", "optimizer" or "validation"
    epoch: int
    step: int  # training batches of the attempt before it
    images: int
    side: int
    boxes: int
    accumulate: int
    taken: Taken
    available: float


@dataclass(frozen=True)
class End:
    """How an attempt ended: None for the failed batch if it is the end of the training."""

    failed: Batch | None
    completed: int  # epochs that are saved, all attempts together
    seconds: float
    lost_steps: int  # batches of the user's size that must be trained again
    left: bool = False  # it was asked to leave at the end of an epoch


Look = Callable[[Batch, Setting], Setting | None]
"""Sees each batch that went well; the configuration from the next one on, or None to leave at the
end of the epoch."""


def play(
    case: Case,
    setting: Setting,
    *,
    attempt: int,
    begin: int,
    look: Look | None = None,
    alone: bool = False,
) -> End:
    """One attempt from epoch `begin` on; `alone` leaves the neighbour out."""
    seconds, step, leaving = 0.0, 0, False
    lost, seen = 0.0, set[int]()
    for epoch in range(begin, EPOCHS):
        steps = math.ceil(case.images / setting.batch)
        warm = 0
        for index in range(steps):
            rng = random.Random(f"{case.number} {attempt} {epoch} {index} {setting.batch}")
            batch = _training(case, setting, rng, epoch, index, steps, step, lost, alone)
            if batch.side not in seen:
                seen.add(batch.side)
                lost = 1.0 - 0.7 ** len(seen)
            if batch.taken.reserved > batch.available:
                part = round(warm * setting.batch / case.setting.batch)
                return End(batch, epoch, seconds, part)
            seconds += step_seconds(case.truth, setting, batch.images * batch.side**2)
            step, warm = step + 1, warm + 1
            if step == setting.accumulate:
                peak = optimizer_step(case.truth)
                taken = Taken(batch.taken.base, peak, peak, peak, "optimizer")
                first = replace(batch, phase="optimizer", taken=taken)
                if peak > batch.available:
                    return End(first, epoch, seconds, warm)
            if look is not None:
                changed = look(batch, setting)
                leaving = leaving or changed is None
                setting = setting if changed is None else changed
        checked = _validation(case, setting, epoch, step, attempt, alone)
        if checked.taken.reserved > checked.available:
            return End(checked, epoch, seconds, round(warm * setting.batch / case.setting.batch))
        seconds += 0.15 * seconds / max(epoch - begin + 1, 1) / 10
        if look is not None:
            changed = look(checked, setting)
            leaving = leaving or changed is None
            setting = setting if changed is None else changed
        if leaving and epoch + 1 < EPOCHS:
            return End(None, epoch + 1, seconds, 0, True)
    return End(None, EPOCHS, seconds, 0)


def _training(
    case: Case,
    setting: Setting,
    rng: random.Random,
    epoch: int,
    index: int,
    steps: int,
    step: int,
    lost: float,
    alone: bool,
) -> Batch:
    least, most = setting.sizes
    side = rng.randrange(least, most + 32, 32) if setting.ratio else setting.size
    middle, spread = case.crowd
    of_image = [
        min(round(middle * math.exp(spread * rng.gauss(0.0, 1.0))), case.most_boxes)
        for _ in range(min(setting.batch, 8))
    ]
    mosaic = 2.2 if epoch < MOSAIC_UNTIL and case.trainer != "yolov5" else 1.0
    most_boxes = round(max(of_image) * mosaic)
    boxes = round(sum(of_image) / len(of_image) * setting.batch * mosaic)
    taken = training_batch(
        case.truth,
        setting,
        pixels=setting.batch * side * side,
        side=side,
        most_boxes=most_boxes,
        images=setting.batch,
        stepped=step >= setting.accumulate,
        gathered=step % setting.accumulate != 0,
        first=step == 0,
        lost=lost,
        luck=rng.gauss(0.0, 1.0),
    )
    available = _available(case, epoch + index / steps, alone)
    return Batch(
        "training", epoch, step, setting.batch, side, boxes, setting.accumulate, taken, available
    )


def _validation(
    case: Case, setting: Setting, epoch: int, step: int, attempt: int, alone: bool
) -> Batch:
    rng = random.Random(f"{case.number} {attempt} {epoch} validation")
    side = setting.size + 32
    pixels = setting.validation_batch * side * side
    taken = validation_batch(case.truth, setting, pixels, rng.gauss(0.0, 1.0))
    return Batch(
        "validation", epoch, step, setting.validation_batch, side, 0, setting.accumulate, taken,
        _available(case, epoch + 1.0, alone),
    )  # fmt: skip


def _available(case: Case, when: float, alone: bool) -> float:
    other = case.neighbour
    if other is None or alone or not other.begins <= when < other.ends:
        return case.capacity
    return case.capacity - other.bytes
