"""Memory that grows with the epochs: a leak, or only denser batches.

What is in use between two batches does not depend on them: where that grows with every epoch,
something keeps tensors. Where only the most that a batch takes grows, and with it the number of
boxes, batches have become denser: nothing is lost, and a restart would change nothing. On the CPU
dense batches raise the heap that stays as well, so there a growing number of boxes explains both.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from yolowatch.decide.sustained import Finding
from yolowatch.decide.track import Epoch, Track
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import RunSpec
from yolowatch.model.thresholds import Thresholds
from yolowatch.model.verdict import Kind

_STEADY = (
    0.5  # of the middle growth, that each epoch must at least add: a heap settles, leaks go on
)


def growth(track: Track, spec: RunSpec | None, thresholds: Thresholds) -> Finding | None:
    """What the latest epochs show; None while too few have ended or nothing grows."""
    epochs = track.complete_epochs[-(thresholds.leak_epochs + 1) :]
    if len(epochs) <= thresholds.leak_epochs:
        return None
    denser = _times_denser(epochs)
    on_device = spec is not None and spec.device is not None and not spec.device.startswith("cpu")
    explained = denser is None or denser >= thresholds.dense_boxes
    leak = _leak(epochs, thresholds)
    if leak is not None and (on_device or not explained):
        return leak
    if denser is None or denser < thresholds.dense_boxes or _sizes_vary(spec):
        return None
    return _dense(epochs, thresholds)


def _leak(epochs: tuple[Epoch, ...], thresholds: Thresholds) -> Finding | None:
    floors = [each.floor_bytes for each in epochs if each.floor_bytes is not None]
    if len(floors) < len(epochs):
        return None  # an epoch of which nothing is known may have been anything
    steps = [b - a for a, b in pairwise(floors)]
    usual = median(steps)
    if usual <= 0 or min(steps) < _STEADY * usual:
        return None
    if floors[-1] - floors[0] < thresholds.leak_part * floors[0]:
        return None
    capacity, sentence = epochs[-1].capacity_bytes, ""
    if capacity is not None:
        left = max(capacity - (epochs[-1].ceiling_bytes or floors[-1]), 0)
        sentence = f" At this rate it is full in about {left / usual:.0f} epochs."
    return Finding(
        Kind.LEAK,
        f"What is in use between two batches grows by {bytes_text(usual)} with every epoch: "
        f"something keeps tensors.{sentence} A restart at the end of an epoch gives them back.",
        tuple(
            f"epoch {each.number + 1}: {bytes_text(each.floor_bytes)} between batches"
            for each in epochs
        ),
    )


def _dense(epochs: tuple[Epoch, ...], thresholds: Thresholds) -> Finding | None:
    first, last = epochs[0], epochs[-1]
    if first.ceiling_bytes is None or last.ceiling_bytes is None:
        return None
    more = last.ceiling_bytes - first.ceiling_bytes
    if more < thresholds.dense_part * first.ceiling_bytes:
        return None
    return Finding(
        Kind.DENSE_BATCHES,
        f"The peak has grown by {bytes_text(more)} with the boxes in a batch, from {first.boxes} "
        f"to {last.boxes}: no leak. The densest batch is still to be expected.",
        tuple(
            f"epoch {each.number + 1}: at most {bytes_text(each.ceiling_bytes)}, {each.boxes} boxes"
            for each in epochs
        ),
    )


def _times_denser(epochs: tuple[Epoch, ...]) -> float | None:
    """How many times as many boxes the last epoch had; None where that is not known."""
    first, last = epochs[0].boxes, epochs[-1].boxes
    return None if not first or last is None else last / first


def _sizes_vary(spec: RunSpec | None) -> bool:
    """Whether a peak may be a large image; also where that is not known."""
    if spec is None or spec.image_size is None or spec.image_size_max is None:
        return True
    return spec.image_size_max > spec.image_size
