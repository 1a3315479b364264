"""One run as the metrics show it: made from its core and its records, by the loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from yolowatch.daemon.core import Core
from yolowatch.daemon.ledger import Ledger
from yolowatch.daemon.records import Records
from yolowatch.metrics.snapshot import RunMetrics
from yolowatch.metrics.table import INCIDENT_KINDS, LEVERS, LIVE_LEVERS, OUTCOMES
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


def run_metrics(
    run: str, watched: Watched, state: RunState, ledger: Ledger, now: float
) -> RunMetrics:
    """All of one run that is exported at this moment of the monotonic clock."""
    core, records = watched.core, watched.records
    healing, attempt, sights = core.healing, core.attempt, core.sights
    if state.spec is None:  # an attempt that has not said yet what it trains, or never will
        state = replace(state, spec=core.user)
    incidents = _incidents(core, records)
    receipts, live = healing.receipts, core.ordering.living.receipts
    processes = attempt.everyone() if attempt is not None and core.alive else ()
    fresh = sights.host_at is not None and now - sights.host_at < _OLD_SECONDS
    failed = [*(each.plan for each in receipts if each.failed), *healing.abandoned]
    return RunMetrics(
        run=run,
        phase=run_state(watched, state),
        state=state,
        alive=core.alive,
        hook_connected=core.hook_connected,
        attempts=core.attempts,
        incidents=incidents,
        outcomes=Counter(_outcomes(records)),
        remediations=_counted([*(each.plan for each in receipts), *healing.abandoned], LEVERS),
        remediation_failures=_counted(failed, LEVERS),
        live_changes=_counted([each.plan for each in live], LIVE_LEVERS),
        exemplars=_exemplars(watched),
        refusals=healing.refused,
        vaulted=core.vaulted,
        predicted_peak_bytes=receipts[-1].plan.predicted_peak_bytes if receipts else None,
        ranks=attempt.group() if attempt is not None else (),
        outlooks=core.foreseeing.forecast.outlooks if core.alive else (),
        host=sights.host if fresh and sights.host is not None else RunHost(),
        spent=ledger.spent(core),
        pids=frozenset(each.pid for each in processes),
        user=watched.user,
        mode=watched.mode,
        paused=healing.paused is not None,
        journal_writable=records.healthy,
        progress_at=ledger.progress_at,
        remedied_at=ledger.remedied_at,
    )


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
    return {kind: count for kind, count in (ended | opened).items() if kind in INCIDENT_KINDS}


def _outcomes(records: Records) -> Iterator[str]:
    for each in records.incidents.values():
        if each.outcome is not None:
            yield _word(each.outcome)


def _word(outcome: str | None) -> str:
    """The outcome in one word of the table: what follows is for people."""
    word = (outcome or "").partition(":")[0]
    return word if word in OUTCOMES else "other"


def _counted(plans: list[Plan], known: tuple[str, ...]) -> Counter[str]:
    """How often each lever is in these plans; one that the table does not know is "other"."""
    names = [use.name for plan in plans for use in plan.levers]
    return Counter(name if name in known else "other" for name in names)


def _exemplars(watched: Watched) -> dict[str, str]:
    found: dict[str, str] = {}
    for incident, each in watched.records.incidents.items():
        found[each.kind] = incident
        if each.outcome is not None:
            found[_word(each.outcome)] = incident
    healing = watched.core.healing
    for plan in (*(each.plan for each in healing.receipts), *healing.abandoned):
        found |= dict.fromkeys(_counted([plan], LEVERS), plan.incident)
    return found
