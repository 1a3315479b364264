"""Notices in the loop what happens to incidents, and hands it on to be told.

The loop's half of the incident pages and of the notifications: it looks at what the cores know,
keeps the memory of the last minutes of each run, and calls `changed` with a frozen draft whenever
an incident is new or stands otherwise. It renders nothing and opens no file: that is `telling`'s,
in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from yolowatch.daemon.history import EVERY_SECONDS, History, failure
from yolowatch.daemon.member import Member
from yolowatch.daemon.viewing import run_view
from yolowatch.model.receipt import Receipt
from yolowatch.model.story import Failure, Point, Subject, Waiting
from yolowatch.model.view import FleetView, IncidentView, RunView

_OVERVIEW_SECONDS = 5.0
_AFTERWARDS_SECONDS = 90.0  # of a run that trains again: then its page shows how that went


@dataclass(frozen=True)
class Draft:
    """What only the loop knows of an incident; the journal knows the rest."""

    incident: IncidentView
    subject: Subject
    receipt_outcome: str | None = None
    waiting: Waiting | None = None
    failure: Failure | None = None
    capacity_bytes: int | None = None
    points: tuple[Point, ...] = ()
    under_way: bool = False  # whether a plan for it is carried out


@dataclass(frozen=True)
class Overview:
    """All runs at one moment, for the threads of the HTTP server."""

    view: FleetView
    histories: Mapping[str, tuple[Point, ...]]
    receipts: Mapping[str, str] = field(default_factory=dict)  # their outcomes, by incident
    waiting: frozenset[str] = frozenset()  # incidents whose plan waits for a person
    under_way: frozenset[str] = frozenset()  # incidents whose plan is carried out


class Stories:
    """Called by the loop only, but for `overview`, which is swapped whole."""

    def __init__(
        self,
        members: Callable[[], Mapping[str, Member]],
        view: Callable[[tuple[RunView, ...]], FleetView],
        changed: Callable[[Draft], None],
        host: str | None,
    ) -> None:
        self._members, self._view, self._changed, self._host = members, view, changed, host
        self._histories: dict[str, History] = {}
        self._seen: dict[str, object] = {}  # how each incident stood when it was last told
        self._once_more: dict[str, float] = {}  # when to tell of an incident that went well
        self._looked_at = self._shown_at = float("-inf")
        self.overview = Overview(view(()), {})

    def look(self, now: float) -> None:
        """After an event that may have changed what a run is: tell of what is different."""
        members = self._members()
        if now - self._looked_at >= EVERY_SECONDS:
            self._looked_at = now
            self._keep(members)
        if now - self._shown_at >= _OVERVIEW_SECONDS:
            self._shown_at = now
            self._show(members)
        for member in members.values():
            if member.records.incidents:
                self._compare(member, now)

    def _keep(self, members: Mapping[str, Member]) -> None:
        for run in self._histories.keys() - members.keys():
            del self._histories[run]
        known = {each for member in members.values() for each in member.records.incidents}
        for incident in self._seen.keys() - known:
            del self._seen[incident]
        for run, member in members.items():
            self._histories.setdefault(run, History()).look(member.core.state())

    def _show(self, members: Mapping[str, Member]) -> None:
        runs = tuple(run_view(member, receipts=False) for member in members.values())
        points = {run: history.points() for run, history in self._histories.items()}
        receipts = {
            each.incident: each.outcome for member in members.values() for each in _receipts(member)
        }
        waiting = (_waiting(member) for member in members.values())
        waits = frozenset(each[0] for each in waiting if each is not None)
        acted = (_under_way(member) for member in members.values())
        under_way = frozenset(each for each in acted if each is not None)
        self.overview = Overview(self._view(runs), points, receipts, waits, under_way)

    def _compare(self, member: Member, now: float) -> None:
        receipts = {each.incident: each.outcome for each in _receipts(member)}
        waiting = _waiting(member)
        for incident in tuple(member.records.incidents.values()):
            outcome = receipts.get(incident.id)
            waits = waiting[1] if waiting is not None and waiting[0] == incident.id else None
            stands = (incident, outcome, waits, _under_way(member) == incident.id)
            again = self._once_more.get(incident.id)
            if self._seen.get(incident.id) == stands and (again is None or now < again):
                continue
            self._once_more.pop(incident.id, None)
            if outcome == "training again" and again is None:
                self._once_more[incident.id] = now + _AFTERWARDS_SECONDS
            self._seen[incident.id] = stands
            self._changed(self._draft(member, incident, outcome, waits))

    def _draft(
        self, member: Member, incident: IncidentView, outcome: str | None, waiting: Waiting | None
    ) -> Draft:
        state = member.core.state()
        remedy = member.core.healing.remedy
        if remedy is not None and remedy.order.plan.incident == incident.id:
            state = remedy.state  # of the attempt that has failed
        history = self._histories.setdefault(member.run, History())
        verdicts = [each for each in member.core.verdicts if each.sentence == incident.sentence]
        capacity = verdicts[-1].capacity_bytes if verdicts else None
        return Draft(
            incident,
            self._subject(member),
            outcome,
            waiting,
            failure(state),
            state.memory.capacity_bytes if capacity is None else capacity,
            history.with_end(state),
            _under_way(member) == incident.id,
        )

    def _subject(self, member: Member) -> Subject:
        spec, adoption = member.core.user or member.core.state().spec, member.adoption
        subject = Subject(
            member.run,
            self._host,
            adoption.user or (str(adoption.uid) if adoption.uid >= 0 else None),
            adoption.argv,
            adoption.cwd,
            mode=member.rule.mode,
        )
        if spec is None:
            return subject
        return replace(
            subject,
            run_dir=spec.run_dir,
            trainer=" ".join(each for each in (spec.trainer, spec.trainer_version) if each),
            model=spec.model,
            data=spec.data,
            device=spec.device,
        )


def _receipts(member: Member) -> tuple[Receipt, ...]:
    """Of restarts, and of what was changed while it ran."""
    return (*member.core.healing.receipts, *member.core.ordering.living.receipts)


def _under_way(member: Member) -> str | None:
    """The incident whose plan is carried out."""
    healing = member.core.healing
    if healing.remedy is None or not healing.under_way:
        return None
    return healing.remedy.order.plan.incident


def _waiting(member: Member) -> tuple[str, Waiting] | None:
    """The incident whose plan waits for a person, and that plan."""
    if member.core.healing.waiting is None:
        return None
    view, remedy = run_view(member, receipts=False).plan, member.core.healing.remedy
    if view is None or remedy is None:
        return None
    return remedy.order.plan.incident, Waiting(view.id, view.reason, view.changes)
