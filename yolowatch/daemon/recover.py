"""What a daemon finds of the runs of one before it: the mementos in the journal.

Each is a run without an end. A memento that cannot be read, or with which a run cannot be gone on
with, ends its run with that reason, rather than to guess what was to be done: it must not end each
daemon that is started after it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from yolowatch.daemon.fleet import Fleet
from yolowatch.daemon.member import Do
from yolowatch.daemon.memento import Memento, RunMemento, Told
from yolowatch.edges import notes, plain, proc
from yolowatch.edges.journal import Journal
from yolowatch.model.fold import fold
from yolowatch.model.run import RunState


def restored(fleet: Fleet, journal: Journal, say: Callable[[str], None]) -> Iterator[Sequence[Do]]:
    """What is to be done about each run that the fleet goes on with; raises StateError."""
    for run, memento in unfinished(journal, say):
        try:
            wanted = fleet.restore(run, memento)
        except Exception:
            fleet.drop(run)
            journal.end_run(run, None, "abandoned: an internal error of yolowatch")
            journal.forget_memento(run)
            say(
                f"run {run} is abandoned, and trains on without being watched: an internal error "
                f"of yolowatch, please report it: {traceback.format_exc()}"
            )
        else:
            yield wanted


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
    run_dir, told = Path(core.user.run_dir), []
    attempt, heard = core.attempt, core.attempt.told
    if all(each.process != attempt.process for each in heard):  # it was started, and not heard of
        heard = (*heard, Told(RunState(attempt.number), attempt.process, None, None))
    for each in heard:
        note = None
        if proc.is_alive(each.process) is False:
            note = notes.last_message(run_dir, each.process)
        if note is not None:
            at = each.state.samples[-1].at if each.state.samples else core.attempt.started_at
            each = replace(each, state=fold(each.state, *note, at))
        if note is not None or each in attempt.told:
            told.append(each)
    return replace(core, attempt=replace(core.attempt, told=tuple(told)))
