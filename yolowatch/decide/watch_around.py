"""What goes wrong around a run that lives: its ranks among each other, the host's memory, the
device itself, and what is forecast.

Pure like `watch`; what is not known is never found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from yolowatch.decide.sustained import Finding
from yolowatch.decide.track import WORKING, Track
from yolowatch.model.device import DeviceReading
from yolowatch.model.forecast import Outlook
from yolowatch.model.host import RunHost
from yolowatch.model.quantity import bytes_text, seconds_text
from yolowatch.model.run import RunSpec
from yolowatch.model.thresholds import Thresholds
from yolowatch.model.verdict import Kind

_POINTS = 120
_PARTS = 4


def wedged_rank(ranks: Mapping[int, Track], at: float, thresholds: Thresholds) -> Finding | None:
    """No rank goes on, and one of them stands behind the others, which wait for it."""
    places: dict[int, tuple[int, int]] = {}
    stalled: list[float] = []
    for number, track in ranks.items():
        last = track.last
        if last is None or track.stepped_at is None or last.place.step is None:
            return None
        if last.place.phase not in WORKING:
            return None  # validation and saving are for one rank alone
        places[number] = (last.place.step, WORKING.index(last.place.phase))
        stalled.append(at - track.stepped_at)
    if len(places) < 2 or min(stalled) < thresholds.stalled_rank_seconds:
        return None
    behind = [number for number, place in places.items() if place == min(places.values())]
    if len(behind) == len(places):
        return None
    step, phase = min(places.values())
    names = ", ".join(map(str, sorted(behind)))
    return Finding(
        Kind.WEDGED_RANK,
        f"Rank {names} has stood at batch {step} in {WORKING[phase]} for "
        f"{seconds_text(min(stalled))}, and the others wait for it: it will not go on by itself.",
        tuple(
            f"rank {number}: batch {place[0]}, {WORKING[place[1]]}"
            for number, place in sorted(places.items())[:16]
        ),
    )


@dataclass(frozen=True)
class HostTrack:
    """What the run held of the host, one point in a while: (when, bytes)."""

    points: tuple[tuple[float, int], ...] = ()


def fold_host(
    track: HostTrack, host: RunHost | None, at: float, thresholds: Thresholds
) -> HostTrack:
    """With a reading that was made at `at`; one that is unknown adds nothing."""
    if host is None or host.resident_bytes is None:
        return track
    pause = thresholds.host_leak_seconds / _POINTS
    if track.points and at < track.points[-1][0]:
        track = HostTrack()
    if track.points and at - track.points[-1][0] < pause:
        return track
    return replace(track, points=(*track.points, (at, host.resident_bytes))[-2 * _POINTS :])


def host_leak(track: HostTrack, thresholds: Thresholds) -> Finding | None:
    """The least that the run holds grows from each quarter of the time to the next."""
    points = track.points
    if len(points) < _PARTS or points[-1][0] - points[0][0] < thresholds.host_leak_seconds:
        return None
    began, span = points[-1][0] - thresholds.host_leak_seconds, thresholds.host_leak_seconds
    parts: list[list[int]] = [[] for _ in range(_PARTS)]
    for when, held in points:
        if when >= began:
            parts[min(int((when - began) / span * _PARTS), _PARTS - 1)].append(held)
    if not all(parts):
        return None  # a hole: what was in it is not known
    least = [min(part) for part in parts]
    if any(b <= a for a, b in pairwise(least)):
        return None
    if least[-1] - least[0] < thresholds.host_leak_part * least[0]:
        return None
    return Finding(
        Kind.HOST_LEAK,
        f"The processes of the run hold ever more of the host's memory: {bytes_text(least[-1])} "
        f"after {bytes_text(least[0])}. A restart at the end of an epoch gives it back.",
        tuple(f"quarter {n}: at least {bytes_text(each)}" for n, each in enumerate(least, 1)),
    )


def shared_memory(
    host: RunHost | None, spec: RunSpec | None, thresholds: Thresholds
) -> Finding | None:
    """Little of /dev/shm is left, and workers hand their batches over through it."""
    if host is None or not host.shm_capacity_bytes or host.shm_used_bytes is None:
        return None
    if spec is None or not spec.workers:
        return None
    free = host.shm_capacity_bytes - host.shm_used_bytes
    if free >= thresholds.shared_memory_free * host.shm_capacity_bytes:
        return None
    return Finding(
        Kind.SHARED_MEMORY,
        f"Little of /dev/shm is left: {bytes_text(max(free, 0))} of "
        f"{bytes_text(host.shm_capacity_bytes)}, and {spec.workers} workers hand batches over "
        "through it. Fewer workers or a larger /dev/shm answer that.",
        (),
        thresholds.shared_memory_seconds,
    )


def device_fault(device: DeviceReading | None, xids: int | None) -> Finding | None:
    """The driver told of critical errors of the device since the attempt began."""
    if device is None or not xids:
        return None
    newest = "" if device.last_xid is None else f", the last of them XID {device.last_xid}"
    return Finding(
        Kind.DEVICE_FAULT,
        f"GPU {device.index} has had {xids} critical errors since this attempt began{newest}: see "
        "the kernel log. No memory is lacking for that.",
    )


def forecast(outlook: Outlook | None, thresholds: Thresholds) -> Finding | None:
    """A lack of memory is more likely than the policy allows."""
    if outlook is None or outlook.probability is None:
        return None
    if outlook.probability < thresholds.near_oom_probability:
        return None
    point, capacity = bytes_text(outlook.point_bytes), bytes_text(outlook.capacity_bytes)
    return Finding(
        Kind.NEAR_OOM,
        f"It is forecast to run out of memory in {outlook.phase}: {point} of {capacity}, with a "
        f"probability of {outlook.probability:.0%}.",
        (f"99 % bound {bytes_text(outlook.bound_bytes)}",),
        thresholds.near_oom_seconds,
    )
