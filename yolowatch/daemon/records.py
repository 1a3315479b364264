"""One run's page in the journal, and what happens when it cannot be written any more.

The first failure is said once; from then on the run is only watched (`healthy` is False), because
nothing may be changed that is not journaled before.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from yolowatch.daemon.memento import RunMemento
from yolowatch.edges import plain
from yolowatch.edges.journal import Journal
from yolowatch.errors import StateError
from yolowatch.model import events
from yolowatch.model.forecast import LawKey, Lesson
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Plan
from yolowatch.model.receipt import FileChange, Receipt
from yolowatch.model.run import RunSpec
from yolowatch.model.verdict import Verdict
from yolowatch.model.view import IncidentView


class Records:
    """Writes what the core decides; no method raises."""

    def __init__(self, journal: Journal, run: str, say: Callable[[str], None]) -> None:
        """The page of a run that was begun before."""
        self._journal = journal
        self._say = say
        self._attempt = 0
        self.trouble: str | None = None
        self.owner: int | None = None  # the user whose run it is, where there are several
        self.run = run
        self.incidents: dict[str, IncidentView] = {}  # as people see them
        self._try(self._recall)

    @classmethod
    def begin(
        cls,
        journal: Journal,
        command: Sequence[str],
        cwd: str,
        mode: str,
        supervisor: ProcessKey | None,
        say: Callable[[str], None],
        run: str | None = None,
    ) -> Records:
        """A new page; here alone a StateError passes, because nothing was started yet."""
        return cls(journal, journal.begin_run(command, cwd, mode, supervisor, run), say)

    @property
    def healthy(self) -> bool:
        """Whether everything so far is on disk."""
        return self.trouble is None

    def described(self, spec: RunSpec) -> None:
        self._try(lambda: self._journal.describe_run(self.run, spec.trainer, spec.run_dir))

    def attempt(self, started: events.Started) -> None:
        self._attempt = started.attempt
        number, process = started.attempt, started.process
        self._try(lambda: self._journal.record_attempt(self.run, number, process))

    def ended(
        self, number: int, exited: events.ProcessExited, verdict: Verdict, last_epoch: int | None
    ) -> None:
        self._try(
            lambda: self._journal.end_attempt(
                self.run,
                number,
                status=exited.status,
                signal=exited.signal,
                outcome=verdict.kind.value,
                last_epoch=last_epoch,
            )
        )

    def incident(self, attempt: int, verdict: Verdict) -> str:
        """The incident's id, also when it could not be written."""
        identity: list[str] = []
        self._try(
            lambda: identity.append(
                self._journal.open_incident(
                    self.run, attempt, verdict.kind.value, verdict.sentence, verdict.evidence
                )
            )
        )
        name = identity[0] if identity else secrets.token_hex(4)
        self.incidents[name] = IncidentView(name, verdict.kind.value, verdict.sentence)
        return name

    def close(self, incident: str, outcome: str) -> None:
        if incident in self.incidents:
            self.incidents[incident] = replace(self.incidents[incident], outcome=outcome)
        self._try(lambda: self._journal.close_incident(incident, outcome))

    def plan(self, plan: Plan) -> str | None:
        """The plan's id once it is on disk; None when it is not, and must not be carried out."""
        identity: list[str] = []
        self._try(lambda: identity.append(self._journal.write_plan(self.run, plan)))
        return identity[0] if identity else None

    def end_plan(self, plan: str, outcome: str) -> None:
        self._try(lambda: self._journal.end_plan(plan, outcome))

    def intend(self, plan: str, step: str, detail: str = "") -> bool:
        """Whether the intent is on disk."""
        return self._try(lambda: self._journal.intend(plan, step, detail))

    def done(self, event: events.StepDone) -> None:
        self._try(lambda: self._journal.done(event.plan, event.step, event.detail))

    def failed(self, event: events.StepFailed) -> None:
        self._try(lambda: self._journal.failed(event.plan, event.step, event.reason))

    def files(self, plan: str, changes: Sequence[FileChange]) -> None:
        self._try(lambda: self._record_files(plan, changes))

    def _record_files(self, plan: str, changes: Sequence[FileChange]) -> None:
        for change in changes:
            self._journal.record_file(plan, change.path, change.before, change.after, change.copy)

    def checkpoint(self, event: events.CheckpointVaulted) -> None:
        self._try(
            lambda: self._journal.record_checkpoint(
                self.run,
                self._attempt,
                event.epoch,
                event.path,
                sha256=event.sha256,
                copy=event.copy,
                size_bytes=event.bytes,
                seconds=event.seconds,
            )
        )

    def receipt(self, receipt: Receipt) -> None:
        """Written again whenever more is known: the newest of an incident counts."""
        self._try(lambda: self._journal.write_receipt(self.run, receipt.to_json()))

    def finished(self, status: int | None, outcome: str) -> None:
        self._try(lambda: self._journal.end_run(self.run, status, outcome))

    def remember(self, memento: RunMemento) -> bool:
        """Whether a successor would find the run as it is now."""
        return self._try(lambda: self._journal.write_memento(self.run, plain.to_json(memento)))

    def lesson(self, key: LawKey) -> Lesson | None:
        """What earlier runs of this kind and owner taught; nothing where it cannot be read."""
        found: list[str | None] = []
        self._try(lambda: found.append(self._journal.lesson(self._kind(key))))
        try:
            return plain.from_json(Lesson, found[0]) if found and found[0] else None
        except ValueError:
            return None

    def learn(self, key: LawKey, lesson: Lesson) -> None:
        """Keep what a training has taught, for others of its owner alone: nobody else trusts it."""
        self._try(lambda: self._journal.write_lesson(self._kind(key), plain.to_json(lesson)))

    def _kind(self, key: LawKey) -> str:
        return plain.to_json({"owner": self.owner, "key": key})

    def forget(self) -> None:
        """Nobody needs to go on with the run."""
        self._try(lambda: self._journal.forget_memento(self.run))

    def _recall(self) -> None:
        for each in self._journal.incidents(self.run):
            self.incidents[each.id] = IncidentView(each.id, each.kind, each.sentence, each.outcome)

    def _try(self, write: Callable[[], object]) -> bool:
        if self.trouble is not None:
            return False
        try:
            write()
        except StateError as error:
            self.trouble = str(error)
            self._say(f"{error} The run goes on; from here it is watched and not changed.")
            return False
        return True
