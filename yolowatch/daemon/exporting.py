"""One run as the metrics show it: made from its core and its records, by the loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from yolowatch.daemon.core import Core
from yolowatch.daemon.ledger import Ledger
from yolowatch.daemon.records import Records
from yolowatch.metrics.snapshot import RunMetrics
from yolowatch.metrics.table import INCIDENT_KINDS, OUTCOMES
from yolowatch.model.host import RunHost
from yolowatch.model.plan import Plan
from yolowatch.model.run import RunState
from yolowatch.model.verdict import Kind

_OLD_SECONDS = 60.0  # older readings of the host are not shown


@dataclass(frozen=True)
class Watched:
    """A run that is exported; `user` and `mode` where they are known."""

    core: Core
    records: Records
    user: str | None = None
    mode: str | None = None


def run_metrics(run: str, watched: Watched, state: RunState, ledger: Ledger) -> RunMetrics:
    """All of one run that is exported."""
    core, records = watched.core, watched.records
    healing, attempt, sights = core.healing, core.attempt, core.sights
    incidents = _incidents(core, records)
    receipts = healing.receipts
    failed = [*(each.plan for each in receipts if each.failed), *healing.abandoned]
    return RunMetrics(
        run=run,
        phase=run_state(watched, state),
        state=state,
        hook_connected=core.hook_connected,
        attempts=core.attempts,
        incidents=incidents,
        outcomes=Counter(_outcomes(records)),
        remediations=Counter(_levers([*(each.plan for each in receipts), *healing.abandoned])),
        remediation_failures=Counter(_levers(failed)),
        exemplars=_exemplars(watched),
        refusals=healing.refused,
        vaulted=core.vaulted,
        predicted_peak_bytes=receipts[-1].plan.predicted_peak_bytes if receipts else None,
        ranks=attempt.group() if attempt is not None else (),
        outlook=core.foreseeing.forecast.worst,
        host=sights.host or RunHost(),
        spent=ledger.spent(core),
        pids=frozenset(each.pid for each in attempt.everyone())
        if attempt and core.alive
        else _NONE,
        user=watched.user,
        mode=watched.mode,
        paused=healing.paused is not None,
        journal_writable=records.healthy,
        progress_at=ledger.progress_at,
    )


_NONE: frozenset[int] = frozenset()


def run_state(watched: Watched, state: RunState) -> str:
    """One of `table.RUN_STATES`."""
    core = watched.core
    healing = core.healing
    if healing.waiting is not None:
        return "waiting"
    if healing.under_way:
        return "remediating"
    if core.alive or not core.verdicts:
        return "training" if state.place.step else "starting"
    kind = core.verdicts[-1].kind
    if kind is Kind.FINISHED:
        return "finished"
    if kind is Kind.INTERRUPTED:
        return "stopped"
    if healing.refused:
        return "refused"
    # A remedy that nobody failed to carry out was given up because somebody stepped in.
    last = next(reversed(watched.records.incidents.values()), None)
    gave_way = last is not None and _word(last.outcome) == "abandoned" and not healing.abandoned
    return "stopped" if gave_way else "failed"


def _incidents(core: Core, records: Records) -> dict[str, int]:
    """By kind. The end of an attempt is a verdict, and an incident too where it was answered; what
    was seen of a living run is an incident only: so the larger count is the true one.
    """
    ended = Counter(each.kind.value for each in core.verdicts)
    opened = Counter(each.kind for each in records.incidents.values())
    both = {kind: max(ended[kind], opened[kind]) for kind in INCIDENT_KINDS}
    return {kind: count for kind, count in both.items() if count}


def _outcomes(records: Records) -> Iterator[str]:
    for each in records.incidents.values():
        if each.outcome is not None:
            yield _word(each.outcome)


def _word(outcome: str | None) -> str:
    """The outcome in one word of the table: what follows is for people."""
    word = (outcome or "").partition(":")[0]
    return word if word in OUTCOMES else "other"


def _levers(plans: list[Plan]) -> Iterator[str]:
    return (use.name for plan in plans for use in plan.levers)


def _exemplars(watched: Watched) -> dict[str, str]:
    found: dict[str, str] = {}
    for incident, each in watched.records.incidents.items():
        found[each.kind] = incident
        if each.outcome is not None:
            found[_word(each.outcome)] = incident
    healing = watched.core.healing
    for plan in (*(each.plan for each in healing.receipts), *healing.abandoned):
        found |= dict.fromkeys(_levers([plan]), plan.incident)
    return found
