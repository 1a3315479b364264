"""What is wrong with a run that lives: one function a detector, over what one look shows.

Each sees figures and says what a person would; none acts, and none remembers: `track` folds what
takes long, `sustained` waits until it has held. What is not known is never found. They are cheap: a
look reads the windows since the last one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from yolowatch.decide.detect_device import named
from yolowatch.decide.sustained import Finding
from yolowatch.decide.track import WORKING, Track, used_bytes
from yolowatch.decide.watch_growth import growth
from yolowatch.model.device import DeviceReading
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import RunSpec, Sample
from yolowatch.model.surroundings import others
from yolowatch.model.thresholds import Thresholds
from yolowatch.model.verdict import Kind

_RETRIED_WINDOWS = 2  # in a row, from which on it is no accident


@dataclass(frozen=True)
class Look:
    """One process at one moment: its figures, the windows that are new, its device."""

    track: Track
    windows: Sequence[Sample]
    spec: RunSpec | None = None
    device: DeviceReading | None = None
    pids: frozenset[int] = frozenset()  # of the run: these are no neighbours


def findings(look: Look, thresholds: Thresholds) -> Iterator[Finding]:
    """All that this look shows; of causes that exclude each other only the deeper one."""
    near = _near(look, thresholds)
    neighbour = _neighbour(look, near, thresholds)
    if neighbour is not None:
        yield neighbour
    elif near is not None:
        yield _near_oom(near, thresholds)
    for found in (_thrashing(look, thresholds), _in_pieces(look, thresholds)):
        if found is not None:
            yield found
    found = growth(look.track, look.spec, thresholds)
    if found is not None:
        yield found


def _near(look: Look, thresholds: Thresholds) -> Sample | None:
    """The newest window in which less than the threshold was left; None where none is known."""
    for sample in reversed(look.windows):
        used, capacity = used_bytes(sample), sample.memory.capacity_bytes
        if used is None or not capacity or sample.place.phase == "setup":
            continue
        if capacity - used < thresholds.near_oom_headroom * capacity:
            return sample
    return None


def _near_oom(sample: Sample, thresholds: Thresholds) -> Finding:
    used, capacity = used_bytes(sample), sample.memory.capacity_bytes
    place = sample.place
    where = ""
    if place.height and place.width and place.batch:
        where = f" at {max(place.height, place.width)} px with batch {place.batch}"
    left = None if used is None or capacity is None else max(capacity - used, 0)
    return Finding(
        Kind.NEAR_OOM,
        f"Nearly out of memory: {bytes_text(used)} in use of {bytes_text(capacity)}{where}. An "
        "unusual batch may fail.",
        (f"headroom {bytes_text(left)}", f"phase {place.phase or 'unknown'}"),
        thresholds.near_oom_seconds,
    )


def _neighbour(look: Look, near: Sample | None, thresholds: Thresholds) -> Finding | None:
    """The run is short of memory, and would not be without somebody else's process."""
    strangers = others(look.device, set(look.pids))
    device = look.device
    if near is None or device is None or not strangers or not device.total_bytes:
        return None
    theirs = sum(each.used_bytes or 0 for each in strangers)
    used, capacity = used_bytes(near), near.memory.capacity_bytes
    if theirs < thresholds.neighbour_part * device.total_bytes or used is None or capacity is None:
        return None
    alone = capacity + theirs
    if alone - used < thresholds.near_oom_headroom * alone:
        return None
    return Finding(
        Kind.NEIGHBOUR,
        f"Nearly out of memory because others use {bytes_text(theirs)} of GPU {device.index}: "
        f"{named(strangers)}. They have to go, or this run has to move; it is not made smaller.",
        tuple(f"pid {each.pid}: {bytes_text(each.used_bytes)}" for each in strangers[:8]),
        thresholds.neighbour_seconds,
    )


def _thrashing(look: Look, thresholds: Thresholds) -> Finding | None:
    last, row = look.track.last, look.track.retries_in_a_row
    if last is None or row < _RETRIED_WINDOWS:
        return None
    return Finding(
        Kind.THRASHING,
        "Allocations succeed only after cached memory was given back, batch after batch: the "
        "training is slow for lack of memory.",
        (f"{last.memory.retries} retries so far", f"{row} windows in a row with new ones"),
        thresholds.thrashing_seconds,
    )


def _in_pieces(look: Look, thresholds: Thresholds) -> Finding | None:
    """Much is held in unusable pieces, and the device has little left beside it."""
    if not look.windows:
        return None
    memory = look.windows[-1].memory
    capacity, reserved, split = (
        memory.capacity_bytes,
        memory.reserved_bytes,
        memory.inactive_split_bytes,
    )
    if not capacity or reserved is None or split is None:
        return None
    if look.windows[-1].place.phase not in WORKING:
        return None
    if split < thresholds.fragmentation_part * capacity:
        return None
    if capacity - reserved >= thresholds.near_oom_headroom * capacity:
        return None
    return Finding(
        Kind.FRAGMENTATION,
        f"{bytes_text(split)} of {bytes_text(capacity)} are held in pieces that a large tensor "
        "cannot use: expandable segments answer that, a smaller batch does not.",
        (f"reserved {bytes_text(reserved)}", f"inactive split {bytes_text(split)}"),
        thresholds.fragmentation_seconds,
    )
