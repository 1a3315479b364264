"""What a daemon finds of the runs of one before it: the mementos in the journal.

Each is a run without an end. A memento that cannot be read ends its run with that reason, rather
than to guess what was to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from yolowatch.daemon.memento import Memento, RunMemento, Told
from yolowatch.edges import notes, plain, proc
from yolowatch.edges.journal import Journal
from yolowatch.model.fold import fold
from yolowatch.model.run import RunState


def unfinished(journal: Journal, say: Callable[[str], None]) -> Iterator[tuple[str, RunMemento]]:
    """Run and memento of each run to go on with, oldest first; raises StateError."""
    for run, body in journal.mementos():
        try:
            memento = plain.from_json(RunMemento, body)
        except ValueError as error:
            journal.end_run(run, None, f"abandoned: its memento cannot be read ({error})")
            journal.forget_memento(run)
            say(f"run {run} is abandoned: what was known of it cannot be read")
            continue
        _close_orphans(journal, run, memento)
        yield run, replace(memento, core=_with_notes(memento.core))


def _close_orphans(journal: Journal, run: str, memento: RunMemento) -> None:
    """End what was written after the memento: it is written again when the run goes on."""
    healing = memento.core.healing
    known = {receipt.incident for receipt in healing.receipts}
    plans: set[str] = set()
    if healing.remedy is not None:
        known.add(healing.remedy.order.plan.incident)
        plans.add(healing.remedy.order.plan_id)
    for incident in journal.incidents(run):
        if incident.closed is None and incident.id not in known:
            journal.close_incident(incident.id, "written again after a restart of the daemon")
    for plan in journal.plans(run):
        if plan.ended is None and plan.id not in plans:
            journal.end_plan(plan.id, "written again after a restart of the daemon")


def _with_notes(core: Memento) -> Memento:
    """With what the training said when nobody listened, if it has ended since."""
    if core.user is None or core.user.run_dir is None or core.attempt.exited is not None:
        return core
    run_dir, attempt = Path(core.user.run_dir), core.attempt
    told = tuple(_with_note(each, run_dir, attempt.started_at) for each in attempt.told)
    if all(each.process != attempt.process for each in told):
        started = Told(RunState(attempt.number), attempt.process, None, None)
        noted = _with_note(started, run_dir, attempt.started_at)
        told += (noted,) if noted != started else ()  # else nothing was ever heard of it
    return replace(core, attempt=replace(attempt, told=told))


def _with_note(told: Told, run_dir: Path, started_at: float) -> Told:
    if proc.is_alive(told.process) is not False:
        return told
    note = notes.last_message(run_dir, told.process)
    if note is None:
        return told
    at = told.state.samples[-1].at if told.state.samples else started_at
    return replace(told, state=fold(told.state, *note, at))
