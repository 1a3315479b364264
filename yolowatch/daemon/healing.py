"""What is done about attempts that failed: plans, their steps, refusals, receipts.

Owned by the core, and like it without clock, thread or effect but the journal. A plan is written to
the journal before its first step is asked for, and each step's intent before the step.
"""

from __future__ import annotations

import signal
from dataclasses import replace

from yolowatch.daemon import sentences
from yolowatch.daemon.actions import Action, Finish, Remediation, RestoreFiles, Say
from yolowatch.daemon.attempt import Attempt
from yolowatch.daemon.records import Records
from yolowatch.daemon.remedy import Remedy
from yolowatch.decide import forecast, planner
from yolowatch.decide.budget import AttemptHistory
from yolowatch.model import events
from yolowatch.model.plan import Edits, Plan, Policy, Refusal
from yolowatch.model.receipt import FileChange, Receipt, with_outcome
from yolowatch.model.run import Footprint, RunSpec
from yolowatch.model.verdict import Verdict

_FOOTPRINTS = 512


class Healing:
    """The remediations of one run, one at a time; `receipts` are those that were carried out."""

    def __init__(self, records: Records, policy: Policy) -> None:
        self._records = records
        self._policy = policy
        self._history = AttemptHistory()
        self._footprints: tuple[Footprint, ...] = ()
        self._restorable: dict[str, FileChange] = {}
        self._progressed = False
        self._saved = False
        self._remedy: Remedy | None = None
        self._failures: list[tuple[int | None, Edits]] = []  # pixels, and what was in force
        self._widened: str | None = None
        self.carried_out: str | None = None  # the plan that started the attempt that runs
        self.receipts: list[Receipt] = []
        self.refused = 0
        self.planned = 0

    @property
    def under_way(self) -> bool:
        """Whether a remediation is being carried out."""
        return self._remedy is not None

    @property
    def starting(self) -> bool:
        """Whether the next attempt is being started at this moment."""
        return self._remedy is not None and self._remedy.step == "relaunch"

    def ended(self, attempt: Attempt) -> None:
        """An attempt has ended: what it taught and how far it got is kept."""
        epoch = attempt.completed_epoch()
        self._footprints = (*self._footprints, *attempt.state().footprints)[-_FOOTPRINTS:]
        self._history = self._history.with_end(attempt.number, None if epoch < 0 else epoch)
        self._progressed |= attempt.number > 0 and epoch >= 0
        self._saved |= attempt.saved()
        words = attempt.state().last_words
        if words is not None and words.place.phase in (None, "forward", "loss", "backward"):
            self._failures.append((words.place.pixels, attempt.edits or Edits()))

    def failed_pixels(self, edits: Edits) -> int | None:
        """The smallest batch x height x width of a failed step with these edits' precision and
        checkpointing; 0 where the size of one is not known, None where none has failed.
        """
        alike = (edits.amp, edits.checkpointing)
        return min(
            (p or 0 for p, used in self._failures if (used.amp, used.checkpointing) == alike),
            default=None,
        )

    def widened(self, note: str) -> None:
        """The range of sizes is wider again: the receipt says so, once."""
        receipt = self.receipts[-1]
        kept = tuple(each for each in receipt.science if each != self._widened)
        self._widened = note
        self._amend(replace(receipt, science=(*kept, note)))

    def answer(
        self, attempt: Attempt, verdict: Verdict, user: RunSpec | None, status: int
    ) -> list[Action]:
        """What to do about a memory failure that has ended an attempt with this exit status."""
        incident = self._records.incident(attempt.number, verdict)
        if self.receipts:
            self._amend(with_outcome(self.receipts[-1], f"failed again: {verdict.sentence}"))
        said: list[Action] = [Say(verdict.sentence)]
        if self._policy.mode == "observe":
            self._records.close(incident, "observed")
            return [*said, Say("mode observe: nothing is changed"), Finish(status)]
        decision = self._decide(attempt, verdict, user, incident)
        if isinstance(decision, Refusal):
            return [*said, *self._refuse(decision, status)]
        plan_id = self._records.plan(decision)
        if plan_id is None:
            return [*said, *self._refuse(self._unwritable(incident), status)]
        self.planned += 1
        said.append(Say(sentences.planned(decision)))
        if self._policy.mode == "recommend":
            self._records.end_plan(plan_id, "recommended")
            self._records.close(incident, "recommended")
            return [*said, Say("mode recommend: nothing is changed"), Finish(status)]
        assert user is not None, "the planner plans for known runs only"
        order = _order(plan_id, decision, attempt, user, self._saved)
        self._remedy = Remedy(order, verdict, attempt.state(), attempt.ended_at, status)
        return [*said, *self._take()]

    def step_done(self, event: events.StepDone) -> tuple[list[Action], Receipt | None]:
        """The next step, or the receipt once the run has been started again."""
        remedy = self._remedy
        if remedy is None or not remedy.awaits(event):
            return [], None
        self._records.done(event)
        remedy.remember(event)
        if event.step == "rewrite":
            self._records.files(event.plan, remedy.files)
            for change in remedy.files:
                self._restorable.setdefault(change.path, change)
        if event.step != "relaunch":
            if remedy.interrupted is not None:
                return self._stop(remedy.interrupted), None
            remedy.advance()
            return self._take(), None
        receipt = remedy.receipt(self._records.run, event.at)
        self.receipts.append(receipt)
        self._records.receipt(receipt)
        self._records.end_plan(event.plan, "carried out")
        self.carried_out = event.plan
        self._remedy = None
        return [Say(sentences.started_again(receipt.plan, receipt.resume))], receipt

    def step_failed(self, event: events.StepFailed) -> list[Action]:
        """A step could not be carried out: the plan is abandoned."""
        if self._remedy is None or not self._remedy.awaits(event):
            return []
        self._records.failed(event)
        number = self._remedy.interrupted
        status = self._remedy.status if number is None else 128 + number
        return self._abandon(f"{event.step}: {event.reason}", status)

    def interrupt(self, number: int) -> list[Action]:
        """A signal between two attempts: the run ends, with its files as they were."""
        assert self._remedy is not None
        if self._remedy.step == "rewrite":
            self._remedy.interrupted = number  # which files to put back is known in a moment
            return []
        return self._stop(number)

    def _stop(self, number: int) -> list[Action]:
        name = signal.Signals(number).name
        return self._abandon(f"{name} came between two attempts", 128 + number)

    def _abandon(self, reason: str, status: int) -> list[Action]:
        """End the remediation that is under way, and the run with it."""
        assert self._remedy is not None
        self._records.end_plan(self._remedy.order.plan_id, f"abandoned: {reason}")
        self._records.close(self._remedy.order.plan.incident, f"abandoned: {reason}")
        self._remedy = None
        sentence = f"the remediation was abandoned: {reason}"
        return [Say(sentence), *self._restore(), Finish(status)]

    def give_up(self, reason: str, status: int) -> list[Action]:
        """A restarted run failed for a reason that is no memory failure."""
        if self.receipts:
            self._amend(with_outcome(self.receipts[-1], f"failed: {reason}"))
            self._records.close(self.receipts[-1].incident, f"failed: {reason}")
        return [Say(f"not restarted again: {reason}"), *self._restore(), Finish(status)]

    def finished(self) -> list[Action]:
        """The run has come to its end."""
        if not self.receipts:
            return []
        for receipt in self.receipts:
            self._records.close(receipt.incident, "healed")
        self._amend(with_outcome(self.receipts[-1], "finished"))
        return [Say(sentences.healed(len(self.receipts)))]

    def trained_again(self, seconds: float) -> None:
        """The restarted run has trained its first batch, `seconds` after its start."""
        costs = self.receipts[-1].costs if self.receipts else None
        if costs is None or costs.seconds_lost is not None:
            return
        parts = (
            costs.repeat_seconds,
            costs.exit_seconds,
            costs.memory_wait_seconds,
            costs.restart_seconds,
            seconds,
        )
        lost = sum(part for part in parts if part is not None)
        self._amend(with_outcome(self.receipts[-1], "training again", seconds_lost=lost))

    def _decide(
        self, attempt: Attempt, verdict: Verdict, user: RunSpec | None, incident: str
    ) -> Plan | Refusal:
        if not self._records.healthy:
            return self._unwritable(incident)
        obstacle = attempt.obstacle() if user is not None or attempt.group() else None
        if obstacle is not None:
            return Refusal(incident, obstacle)
        if user is None:
            return Refusal(incident, "the hook did not tell what is trained")
        state = replace(attempt.state(), footprints=self._footprints)
        return planner.plan(
            user=user,
            earlier=attempt.edits or Edits(),
            state=state,
            verdict=verdict,
            laws=forecast.fit(state),
            history=self._history,
            policy=self._policy,
            incident=incident,
        )

    def _unwritable(self, incident: str) -> Refusal:
        return Refusal(incident, f"the journal cannot be written ({self._records.trouble})")

    def _take(self) -> list[Action]:
        remedy = self._remedy
        assert remedy is not None
        if not self._records.intend(remedy.order.plan_id, remedy.step):
            reason = f"the journal cannot be written ({self._records.trouble})"
            return self._abandon(reason, remedy.status)
        return [remedy.request()]

    def _refuse(self, refusal: Refusal, status: int) -> list[Action]:
        self.refused += 1
        self._records.close(refusal.incident, f"refused: {refusal.reason}")
        return [Say(f"not restarted: {refusal.reason}"), *self._restore(), Finish(status)]

    def _restore(self) -> list[Action]:
        """Files go back to what they were, unless an epoch was completed with the changed ones."""
        if self._progressed or not self._restorable:
            return []
        return [RestoreFiles(tuple(self._restorable.values()))]

    def _amend(self, receipt: Receipt) -> None:
        self.receipts[-1] = receipt
        self._records.receipt(receipt)


def _order(
    plan_id: str, plan: Plan, attempt: Attempt, user: RunSpec, has_saved: bool
) -> Remediation:
    assert user.run_dir is not None, "the planner refuses a run without a directory"
    saved = attempt.state().checkpoint
    return Remediation(
        plan_id,
        plan,
        user,
        attempt.number,
        user.run_dir,
        saved.path if saved is not None else f"{user.run_dir}/weights/last.pt",
        has_saved,
        attempt.everyone(),
        attempt.state().emergency,
    )
