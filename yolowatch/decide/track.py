"""What the windows of one process add up to: where it stands, how its memory moves with the epochs.

A hook's windows are kept for two minutes; a leak takes hours. So each window is folded once into a
few figures. Whatever does not fit together (a step that goes back, a counter that falls, another
clock) begins anew: of a process that was started again under the same number nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from yolowatch.model.run import Memory, Sample

MOST_EPOCHS = 64
WORKING = ("data", "forward", "loss", "backward", "optimizer")
PHASES = (*WORKING, "validation", "save")


@dataclass(frozen=True)
class Epoch:
    """One epoch of training: what was in use between two batches at the least, the most that the
    process had used by its end, and the most boxes of a batch that a window saw; None is unknown.
    """

    number: int
    floor_bytes: int | None = None
    ceiling_bytes: int | None = None
    boxes: int | None = None
    capacity_bytes: int | None = None


@dataclass(frozen=True)
class Track:
    """The figures; `stepped_at` is when a training batch was last seen to end."""

    last: Sample | None = None
    stepped_at: float | None = None
    retries_in_a_row: int = 0  # windows with batches, in each of which allocations were retried
    epochs: tuple[Epoch, ...] = ()

    @property
    def complete_epochs(self) -> tuple[Epoch, ...]:
        """Those that have ended, without the first, which allocates what stays."""
        return self.epochs[1:-1]


def unseen(track: Track, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """The windows that were not folded yet, oldest first."""
    if track.last is None:
        return samples
    found: list[Sample] = []
    for sample in reversed(samples):
        if sample is track.last or sample.at == track.last.at:
            break
        found.append(sample)
    return tuple(reversed(found))


def fold(track: Track, windows: Iterable[Sample]) -> Track:
    """The figures with these windows, oldest first."""
    for sample in windows:
        track = _fold_one(track, sample)
    return track


def _fold_one(track: Track, sample: Sample) -> Track:
    last = track.last
    if last is not None and _begins_anew(last, sample):
        track, last = Track(), None
    stepped = bool(sample.steps)
    return Track(
        last=sample,
        stepped_at=sample.at if stepped or track.stepped_at is None else track.stepped_at,
        retries_in_a_row=_retries(track, last, sample),
        epochs=_epochs(track.epochs, sample) if stepped else track.epochs,
    )


def _begins_anew(last: Sample, sample: Sample) -> bool:
    before, now = last.memory, sample.memory
    return (
        sample.at < last.at
        or _fell(last.place.step, sample.place.step)
        or _fell(before.retries, now.retries)
        or _fell(before.ooms, now.ooms)
    )


def _fell(before: int | None, now: int | None) -> bool:
    return before is not None and now is not None and now < before


def _retries(track: Track, last: Sample | None, sample: Sample) -> int:
    if last is None or not sample.steps:
        return track.retries_in_a_row
    before, now = last.memory.retries, sample.memory.retries
    if before is None or now is None or now <= before:
        return 0
    return track.retries_in_a_row + 1


def _epochs(epochs: tuple[Epoch, ...], sample: Sample) -> tuple[Epoch, ...]:
    number = sample.place.epoch
    if number is None or number < 0 or sample.place.phase not in WORKING:
        return epochs
    if epochs and number < epochs[-1].number:
        epochs = ()
    if not epochs or number != epochs[-1].number:
        epochs = (*epochs, Epoch(number))[-MOST_EPOCHS:]
    before = epochs[-1]
    now = Epoch(
        number,
        floor_bytes=_least(before.floor_bytes, sample.allocated_min_bytes),
        ceiling_bytes=_most(before.ceiling_bytes, _highest(sample)),
        boxes=_most(before.boxes, sample.place.boxes),
        capacity_bytes=sample.memory.capacity_bytes,
    )
    return epochs if now == before else (*epochs[:-1], now)


def _highest(sample: Sample) -> int | None:
    """The most so far: what lives within a phase alone, only the process's own mark has seen."""
    return _most(sample.allocated_max_bytes, sample.memory.peak_bytes)


def used_bytes(sample: Sample) -> int | None:
    """The most that was in use in this window; None where nothing is known of it."""
    memory: Memory = sample.memory
    return _most(memory.allocated_bytes, sample.allocated_max_bytes)


def _least(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


def _most(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)
