"""The detectors on a run that lives: what they find becomes an incident, said once.

Owned by the core, and like it without clock, thread or effect but the journal. A look folds the
windows that came since the last one, at most every two seconds; it remedies nothing. What stood
around an attempt while it lived is kept here for the verdict on its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from yolowatch.daemon.attempt import Attempt
from yolowatch.daemon.foreseeing import Foreseeing
from yolowatch.daemon.healing import Healing
from yolowatch.daemon.records import Records
from yolowatch.daemon.sights import Sights
from yolowatch.decide import sustained, track, watch, watch_around
from yolowatch.decide.sustained import Finding, Vigil
from yolowatch.decide.track import Track
from yolowatch.decide.watch_around import HostTrack
from yolowatch.model.actions import Action, Say
from yolowatch.model.device import DeviceReading, used_by
from yolowatch.model.run import RunState
from yolowatch.model.surroundings import Around
from yolowatch.model.verdict import Kind, Verdict

_EVERY_SECONDS = 2.0
_OLD_SECONDS = 30.0  # a reading that is older says nothing of now
_IDLE_SECONDS = 10.0  # nor does it say then that a device is idle: there are five in that time
PASSED, ENDED = "passed", "passed: the attempt ended"


@dataclass
class _Seen:
    """What is remembered of the attempt `number`."""

    number: int
    tracks: dict[int, Track] = field(default_factory=dict)  # by connection
    vigil: Vigil = field(default_factory=Vigil)
    host: HostTrack = field(default_factory=HostTrack)
    opened: dict[Kind, str] = field(default_factory=dict)  # incidents, by kind
    device: DeviceReading | None = None  # on which it computes, as it was read last
    xids: int | None = None  # of that device, when it was first seen
    looked_at: float | None = None


class Watching:
    """Of one run; `look` is called with every tick, `around` when an attempt has ended."""

    def __init__(
        self, records: Records, healing: Healing, sights: Sights, foreseeing: Foreseeing
    ) -> None:
        self._records, self._healing, self._sights = records, healing, sights
        self._foreseeing = foreseeing
        self._seen = _Seen(-1)

    def look(self, attempt: Attempt, at: float) -> list[Action]:
        """What is to be said of the attempt that runs."""
        seen = self._of(attempt)
        if seen.looked_at is not None and 0 <= at - seen.looked_at < _EVERY_SECONDS:
            return []
        seen.looked_at = at
        self._locate(seen, attempt, at)
        thresholds = self._healing.policy.thresholds
        found = tuple(self._findings(seen, attempt, at))
        seen.vigil, change = sustained.fold(seen.vigil, found, at, thresholds.cooldown_seconds)
        for kind in change.over:
            self._records.close(seen.opened.pop(kind), PASSED)
        return [self._open(seen, attempt, each) for each in change.opened]

    def ended(self, attempt: Attempt, earlier: Sequence[Attempt]) -> Around:
        """The attempt has ended: what it opened is over, and this was around it."""
        seen = self._of(attempt)
        for incident in seen.opened.values():
            self._records.close(incident, ENDED)
        seen.opened.clear()
        receipts, before = self._healing.receipts, earlier[-1].state() if earlier else None
        last = receipts[-1] if receipts else None
        waited = last is not None and last.plan.attempt == attempt.number
        return Around(
            device=self._newest(seen),
            processes=attempt.everyone(),
            earlier=tuple(process for each in earlier for process in each.everyone()),
            earlier_capacity_bytes=None if before is None else before.memory.capacity_bytes,
            waited=waited and last is not None and last.verdict.kind is Kind.NOT_BACK,
            xids=_since(seen.xids, self._newest(seen)),
            oom_kills=attempt.exited.oom_kills if attempt.exited is not None else None,
            devices=self._devices(attempt),
        )

    def _devices(self, attempt: Attempt) -> tuple[DeviceReading, ...] | None:
        """All of them, where they were read when the attempt ended or since."""
        read_at, ended = self._sights.devices_at, attempt.exited
        if read_at is None or ended is None or ended.at - read_at > _IDLE_SECONDS:
            return None
        return self._sights.devices

    def _of(self, attempt: Attempt) -> _Seen:
        if self._seen.number != attempt.number:
            self._seen = _Seen(attempt.number)
        return self._seen

    def _locate(self, seen: _Seen, attempt: Attempt, at: float) -> None:
        """Find the GPU on which the attempt computes; of several, none is its own."""
        read_at, devices = self._sights.devices_at, self._sights.devices
        if devices is None or read_at is None or not 0 <= at - read_at < _OLD_SECONDS:
            return
        found = used_by(devices, attempt.everyone())
        if len(found) == 1:
            if seen.device is None or seen.device.index != found[0].index:
                seen.xids = found[0].xids
            seen.device = found[0]

    def _newest(self, seen: _Seen) -> DeviceReading | None:
        """The device of the attempt as it was read last, also after the attempt had left it."""
        index = seen.device.index if seen.device is not None else None
        newest = (each for each in self._sights.devices or () if each.index == index)
        return next(newest, seen.device)

    def _findings(self, seen: _Seen, attempt: Attempt, at: float) -> Iterator[Finding]:
        thresholds = self._healing.policy.thresholds
        pids = frozenset(each.pid for each in attempt.everyone())
        kinds: set[Kind] = set()
        for connection, state in attempt.states.items():
            if state.spec is None:
                continue
            before = seen.tracks.get(connection, Track())
            windows = track.unseen(before, state.samples)
            now = seen.tracks[connection] = track.fold(before, windows)
            look = watch.Look(now, windows, state.spec, self._device_of(state, seen, at), pids)
            for found in watch.findings(look, thresholds):
                if found.kind not in kinds:  # of several ranks the first one speaks
                    kinds.add(found.kind)
                    yield found
        ranks = {
            state.rank.number: seen.tracks[connection]
            for connection, state in attempt.states.items()
            if state.rank is not None and connection in seen.tracks
        }
        beside = (
            watch_around.wedged_rank(ranks, at, thresholds),
            watch_around.device_fault(seen.device, _since(seen.xids, seen.device)),
            self._forecast(),
        )
        for each in beside:
            if each is not None and each.kind not in kinds:
                yield each
        yield from self._of_host(seen, attempt, at)

    def _forecast(self) -> Finding | None:
        """Where nothing is prevented; who prevents opens an incident of its own."""
        policy, worst = self._healing.policy, self._foreseeing.forecast.worst
        if policy.prevention and policy.mode == "auto":
            return None
        return watch_around.forecast(worst, policy.thresholds)

    def _of_host(self, seen: _Seen, attempt: Attempt, at: float) -> Iterator[Finding]:
        thresholds, host = self._healing.policy.thresholds, self._sights.host
        read_at, state = self._sights.host_at, attempt.state()
        if host is None or read_at is None or not 0 <= at - read_at < _OLD_SECONDS:
            return
        if (state.last_epoch_ended or 0) > 0:  # caches fill before that
            seen.host = watch_around.fold_host(seen.host, host, read_at, thresholds)
        for found in (
            watch_around.host_leak(seen.host, thresholds),
            watch_around.shared_memory(host, state.spec, thresholds),
        ):
            if found is not None:
                yield found

    def _device_of(self, state: RunState, seen: _Seen, at: float) -> DeviceReading | None:
        """The device, where its reading is fresh and the training is on one."""
        device = state.spec.device if state.spec is not None else None
        read_at = self._sights.devices_at
        if device is None or not device.startswith("cuda") or read_at is None:
            return None
        return seen.device if 0 <= at - read_at < _OLD_SECONDS else None

    def _open(self, seen: _Seen, attempt: Attempt, found: Finding) -> Action:
        verdict = Verdict(found.kind, found.sentence, evidence=found.evidence)
        seen.opened[found.kind] = self._records.incident(attempt.number, verdict)
        return Say(found.sentence)


def _since(first: int | None, device: DeviceReading | None) -> int | None:
    """Critical errors since the attempt was first seen there; None where that is not known."""
    if first is None or device is None or device.xids is None or device.xids < first:
        return None
    return device.xids - first
