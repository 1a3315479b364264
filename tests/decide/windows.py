"""Windows of a run that lives, as tests need them: constructed, one a second."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.decide.build import GIB, MIB, SPEC
from yolowatch.decide import sustained, track
from yolowatch.decide.sustained import Change, Vigil
from yolowatch.decide.track import Track
from yolowatch.decide.watch import Look, findings
from yolowatch.model.device import DeviceReading
from yolowatch.model.run import Memory, Place, RunSpec, Sample
from yolowatch.model.thresholds import Thresholds
from yolowatch.model.verdict import Kind

CAPACITY = 24 * GIB


def window(
    at: float,
    *,
    epoch: int | None = 3,
    step: int | None = None,
    steps: int | None = 4,
    phase: str | None = "backward",
    low: int | None = 2 * GIB,
    high: int | None = 12 * GIB,
    capacity: int | None = CAPACITY,
    retries: int | None = 0,
    split: int | None = 0,
    reserved: int | None = None,
    boxes: int | None = 90,
) -> Sample:
    """A window of a second that ended at `at`; healthy unless told otherwise."""
    place = Place(phase, epoch, round(at * 4) if step is None else step, 16, 640, 640, 4, boxes)
    held = reserved if reserved is not None else high
    memory = Memory(high, held, split, high, capacity, retries, 0)
    return Sample(at, place, memory, 1.0, steps, low, high)


def epochs(
    floors: Sequence[int | None],
    ceilings: Sequence[int] | None = None,
    boxes: Sequence[int] | None = None,
    *,
    windows: int = 5,
) -> list[Sample]:
    """Some windows of each epoch, with what it has between two batches and at most."""
    return [
        window(
            float(number * windows + each),
            epoch=number,
            low=floor,
            high=ceilings[number] if ceilings else (floor or 0) + 4 * GIB,
            boxes=boxes[number] if boxes else 90,
        )
        for number, floor in enumerate(floors)
        for each in range(windows)
    ]


def leaking(count: int = 8, each: int = 100 * MIB) -> list[Sample]:
    return epochs([2 * GIB + number * each for number in range(count)])


def denser(count: int = 8) -> list[Sample]:
    return epochs(
        [2 * GIB] * count,
        [6 * GIB + number * 400 * MIB for number in range(count)],
        [50 + number * 40 for number in range(count)],
    )


def watched(
    windows: Iterable[Sample],
    spec: RunSpec | None = SPEC,
    device: DeviceReading | None = None,
    pids: frozenset[int] = frozenset(),
    thresholds: Thresholds = Thresholds(),  # noqa: B008
) -> list[tuple[float, Kind]]:
    """What is said, and when, while these windows arrive one by one and a look follows each."""
    said: list[tuple[float, Kind]] = []
    now, vigil = Track(), Vigil()
    for each in windows:
        now = track.fold(now, (each,))
        found = findings(Look(now, (each,), spec, device, pids), thresholds)
        vigil, change = sustained.fold(vigil, found, each.at, thresholds.cooldown_seconds)
        said += [(each.at, finding.kind) for finding in change.opened]
    return said


def opened(change: Change) -> list[Kind]:
    return [each.kind for each in change.opened]
