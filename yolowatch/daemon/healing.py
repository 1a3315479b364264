"""What is done about attempts that failed: plans, their steps, refusals, receipts.

Owned by the core, and like it without clock, thread or effect but the journal. A plan is written to
the journal before its first step is asked for, and each step's intent before the step.
"""

from __future__ import annotations

import signal
from dataclasses import replace

from yolowatch.daemon import sentences
from yolowatch.daemon.attempt import Attempt
from yolowatch.daemon.deciding import decide, order_of
from yolowatch.daemon.lessons import Lessons
from yolowatch.daemon.records import Records
from yolowatch.daemon.remedy import Remedy
from yolowatch.model import events
from yolowatch.model.actions import GRACE, STEPS, Action, Finish, RestoreFiles, Say
from yolowatch.model.plan import Plan, Policy, Refusal
from yolowatch.model.receipt import FileChange, Receipt, with_outcome
from yolowatch.model.run import RunSpec
from yolowatch.model.surroundings import Around
from yolowatch.model.verdict import Kind, Verdict


class Healing:
    """The remediations of one run, one at a time; `receipts` are those that were carried out."""

    def __init__(self, records: Records, policy: Policy, *, adopted: bool = False) -> None:
        self._records = records
        self.adopted = adopted
        self.policy = policy
        self.restorable: dict[str, FileChange] = {}
        self.remedy: Remedy | None = None
        self._widened: str | None = None
        self.lessons = Lessons()
        self.waiting: str | None = None  # why a plan waits for a person's approval
        self.foreign: str | None = None  # whose run it is instead: then nothing is planned
        self.paused: str | None = None  # why no plan is carried out without one
        self.copies: tuple[str, ...] = ()  # in the vault, of this run's checkpoints
        self.carried_out: str | None = None  # the plan that started the attempt that runs
        self.receipts: list[Receipt] = []
        self.refused = self.planned = 0
        self.abandoned: list[Plan] = []  # of which a step could not be carried out

    @property
    def under_way(self) -> bool:
        """Whether a remediation is being carried out."""
        return self.remedy is not None and self.waiting is None

    @property
    def pending(self) -> bool:
        """Whether a remediation is being carried out or waits for approval."""
        return self.remedy is not None

    @property
    def starting(self) -> bool:
        """Whether the next attempt is being started at this moment."""
        return self.under_way and self.remedy is not None and self.remedy.step == STEPS[-1]

    @property
    def acting_policy(self) -> Policy:
        """The policy in force: who is paused acts on nothing by themselves."""
        return self.policy if self.paused is None else replace(self.policy, mode="recommend")

    def ended(self, attempt: Attempt) -> None:
        """An attempt has ended: what it taught and how far it got is kept."""
        self.lessons = self.lessons.after(
            attempt.number,
            attempt.state(),
            attempt.edits,
            attempt.completed_epoch(),
            saved=attempt.saved(),
        )

    def widened(self, note: str) -> None:
        """The range of sizes is wider again: the receipt says so, once."""
        receipt = self.receipts[-1]
        kept = tuple(each for each in receipt.science if each != self._widened)
        self._widened = note
        self._amend(replace(receipt, science=(*kept, note)))

    def answer(
        self, attempt: Attempt, verdict: Verdict, user: RunSpec | None, status: int, around: Around
    ) -> list[Action]:
        """What to do about a memory failure that has ended an attempt with this exit status."""
        incident = self._records.incident(attempt.number, verdict)
        if self.receipts and verdict.kind is not Kind.FORESEEN:
            self._amend(with_outcome(self.receipts[-1], f"failed again: {verdict.sentence}"))
        said: list[Action] = [Say(verdict.sentence)]
        if self.policy.mode == "observe":
            self._records.close(incident, "observed")
            return [*said, Say("mode observe: nothing is changed"), Finish(status)]
        decision = self._against(incident) or decide(
            attempt, verdict, user, incident, self.lessons, self.policy, around
        )
        if isinstance(decision, Refusal):
            return [*said, *self._refuse(decision, status)]
        plan_id = self._records.plan(decision)
        if plan_id is None:
            return [*said, *self._refuse(self._unwritable(incident), status)]
        self.planned += 1
        said.append(Say(sentences.planned(decision)))
        recommend = self.policy.mode == "recommend"
        if recommend and not self.adopted:
            self._records.end_plan(plan_id, "recommended")
            self._records.close(incident, "recommended")
            return [*said, Say("mode recommend: nothing is changed"), Finish(status)]
        assert user is not None, "the planner plans for known runs only"
        order = order_of(
            plan_id,
            decision,
            attempt,
            user,
            has_saved=self.lessons.saved,
            copies=self.copies,
            adopted=self.adopted,
        )
        self.remedy = Remedy(order, verdict, attempt.state(), attempt.ended_at, status)
        return [*said, *(self._wait("mode recommend") if recommend else self._take())]

    def approve(self) -> list[Action]:
        """A person wants the plan that waits; nothing where none does."""
        if self.remedy is None or self.waiting is None:
            return []
        self.waiting = None
        self.remedy.approve()
        return [Say("approved: the plan is carried out"), *self._take()]

    def hold(self, reason: str | None) -> list[Action]:
        """From now on no step is taken, for this reason; None ends that, and goes on."""
        before, self.paused = self.paused, reason
        if self.remedy is None or reason is not None or before is None or self.waiting != before:
            return []
        if self.policy.mode != "auto" and self.remedy.step == self.remedy.order.steps[0]:
            return self._wait(f"mode {self.policy.mode}")
        self.waiting = None
        return self._take()

    def stand_down(self, reason: str) -> list[Action]:
        """Somebody else has taken the run over: what is under way or waits is given up."""
        if self.remedy is None:
            return []
        self.waiting = None
        return self._abandon(reason, self.remedy.status)

    def go_on(self) -> list[Action]:
        """After a restart of the daemon: make the request that was under way once more."""
        return self._take() if self.under_way else []

    def roll_back(self) -> list[Action]:
        """Put the user's files back as they were before the first remediation."""
        self.lessons = self.lessons.without_progress()
        return self._restore()

    def step_done(self, event: events.StepDone) -> tuple[list[Action], Receipt | None]:
        """The next step, or the receipt once the run has been started again."""
        remedy = self.remedy
        if remedy is None or not remedy.awaits(event):
            return [], None
        remedy.take_in(event)
        if remedy.lacks_room(event):
            return self._wait_on(remedy), None
        self._records.done(event)
        if event.step == "rewrite":
            self._records.files(event.plan, remedy.files)
            for change in remedy.files:
                self.restorable.setdefault(change.path, change)
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
        self.remedy = None
        return [Say(sentences.started_again(receipt.plan, receipt.resume))], receipt

    def _wait_on(self, remedy: Remedy) -> list[Action]:
        """The device has no room yet: ask once more, for as long as the plan says."""
        if self.paused is not None:
            return self._wait(self.paused)
        reason = remedy.gave_up_waiting()
        if reason is None:
            return [remedy.request()]  # its intent is in the journal
        self.refused += 1
        return self._abandon(reason, remedy.status)

    def step_failed(self, event: events.StepFailed) -> list[Action]:
        """A step could not be carried out: the plan is abandoned."""
        if self.remedy is None or not self.remedy.awaits(event):
            return []
        self._records.failed(event)
        if event.step == GRACE:
            return self._wait(event.reason)
        number = self.remedy.interrupted
        self.abandoned += [self.remedy.order.plan] if number is None else []
        status = self.remedy.status if number is None else 128 + number
        return self._abandon(f"{event.step}: {event.reason}", status)

    def interrupt(self, number: int) -> list[Action]:
        """A signal between two attempts: the run ends, with its files as they were."""
        assert self.remedy is not None
        if self.remedy.step == "rewrite":
            self.remedy.interrupted = number  # which files to put back is known in a moment
            return []
        return self._stop(number)

    def _stop(self, number: int) -> list[Action]:
        came = f"{signal.Signals(number).name} came between two attempts"
        return self._abandon(came, 128 + number)

    def _abandon(self, reason: str, status: int) -> list[Action]:
        """End the remediation that is under way, and the run with it."""
        assert self.remedy is not None
        self._records.end_plan(self.remedy.order.plan_id, f"abandoned: {reason}")
        self._records.close(self.remedy.order.plan.incident, f"abandoned: {reason}")
        self.remedy = None
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
        lost = costs.lost_until(seconds)
        self._amend(with_outcome(self.receipts[-1], "training again", seconds_lost=lost))

    def _against(self, incident: str) -> Refusal | None:
        """What stands against any plan."""
        if not self._records.healthy:
            return self._unwritable(incident)
        return Refusal(incident, self.foreign) if self.foreign is not None else None

    def _wait(self, reason: str) -> list[Action]:
        self.waiting = reason
        what = "is held" if reason == self.paused else "waits for approval"
        return [Say(f"the plan {what}: {reason}")]

    def _unwritable(self, incident: str) -> Refusal:
        return Refusal(incident, f"the journal cannot be written ({self._records.trouble})")

    def _take(self) -> list[Action]:
        remedy = self.remedy
        assert remedy is not None
        if self.paused is not None:
            return self._wait(self.paused)
        if not self._records.intend(remedy.order.plan_id, remedy.step):
            reason = f"the journal cannot be written ({self._records.trouble})"
            return self._abandon(reason, remedy.status)
        return [remedy.request()]

    def _refuse(self, refusal: Refusal, status: int) -> list[Action]:
        self.refused += 1
        self._records.close(refusal.incident, f"refused: {refusal.reason}")
        if refusal.trained:
            self.finished()
        return [Say(f"not restarted: {refusal.reason}"), *self._restore(), Finish(status)]

    def _restore(self) -> list[Action]:
        """Files go back to what they were, unless an epoch was completed with the changed ones."""
        if self.lessons.progressed or not self.restorable:
            return []
        return [RestoreFiles(tuple(self.restorable.values()))]

    def _amend(self, receipt: Receipt) -> None:
        self.receipts[-1] = receipt
        self._records.receipt(receipt)
