"""What was changed, or changed itself, in a training that runs: incidents, plans and receipts.

Beside `healing`, whose receipts tell of restarts. Owned by the core through `ordering`, and like it
without clock, thread or effect but the journal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from yolowatch.daemon.attempt import Attempt
from yolowatch.daemon.records import Records
from yolowatch.decide.prevent import LEAVE_LEVER, RELEASED_LEVER, Preventive, foreseen
from yolowatch.decide.rescued import changes_of, verdict_of
from yolowatch.model.actions import Action, Say
from yolowatch.model.plan import GUARDED_BATCHES, Cost, Edits, LeverUse, Plan, Policy, Start
from yolowatch.model.quantity import bytes_text
from yolowatch.model.receipt import Costs, Receipt, ResumePoint, science_notes
from yolowatch.model.run import Rescue, RunSpec, RunState
from yolowatch.model.verdict import Kind, Verdict

_GUARD = "guarded-start"  # in the place of an incident: there was none
_MOST_CHANGES = 32  # of one attempt, that are kept


@dataclass
class Changed:
    """A plan for a training that runs; its receipt once it is in force."""

    plan_id: str
    plan: Plan
    verdict: Verdict
    receipt: Receipt | None = None
    widened: str | None = None  # the newest note that its range is wider again
    over: bool = False  # its incident is closed


class Living:
    """The live changes of one run, oldest first."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._changes: list[Changed] = []
        self._guard: Receipt | None = None

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """Of what came into force."""
        told = (self._guard, *(each.receipt for each in self._changes))
        return tuple(each for each in told if each is not None)

    def narrowed(self, attempt: int) -> tuple[str, Plan] | None:
        """The plan by which the range of this attempt was narrowed last, with its id."""
        for each in reversed(self._changes):
            mine = each.receipt is not None and each.plan.attempt == attempt
            if mine and each.plan.edits.multi_scale is not None:
                return each.plan_id, each.plan
        return None

    def recommend(self, attempt: Attempt, found: Preventive) -> str:
        """What would be done about what is foreseen, as an incident without a plan."""
        verdict = foreseen(attempt.state(), found.outlook)
        incident = self._records.incident(attempt.number, verdict)
        self._records.close(incident, "recommended")
        return f"{verdict.sentence} {_change(found.use)} is recommended"

    def begin(
        self, attempt: Attempt, found: Preventive, user: RunSpec, policy: Policy
    ) -> tuple[str, str] | None:
        """(the id of the journaled plan, what it is for); None where it could not be journaled."""
        verdict = foreseen(attempt.state(), found.outlook)
        plan = _plan(attempt.number, found.edits, (found.use,), verdict, user)
        plan = replace(
            plan, predicted_peak_bytes=found.bound_bytes, margin_ratio=policy.margin_ratio
        )
        changed = self._write(plan, verdict)
        if changed is None:
            return None
        peak, capacity = found.bound_bytes, found.outlook.capacity_bytes
        sure = peak is not None and (capacity is None or peak <= capacity)
        then = f", whose peak is at most {bytes_text(peak)}" if sure else ", which is likely to fit"
        return changed.plan_id, f"{found.use.after}{then}. {verdict.sentence}"

    def in_force(self, plan_id: str, state: RunState, user: RunSpec) -> None:
        """The training has taken it: there is a receipt, and the incident is over."""
        changed = self._of(plan_id)
        if changed is not None and not changed.over:
            self._settle(changed, state, user, "prevented")

    def failed(self, plan_id: str, reason: str) -> None:
        """The training has not taken it, or does not keep to it."""
        changed = self._of(plan_id)
        if changed is None:
            return
        changed.over = True
        self._records.end_plan(plan_id, f"failed: {reason}")
        self._records.close(changed.plan.incident, f"failed: {reason}")
        if changed.receipt is not None:
            changed.receipt = replace(changed.receipt, outcome=f"failed: {reason}")
            self._records.receipt(changed.receipt)

    def ended(self, state: RunState) -> None:
        """The attempt has ended: what was ordered of it and has not come into force never will."""
        for each in self._changes:
            if each.plan.levers[0].name == RELEASED_LEVER:
                self._stalled(each, state)
            if not each.over:
                self._records.end_plan(each.plan_id, "the training ended before")
                self._records.close(each.plan.incident, "the training ended before")
                each.over = True

    def _stalled(self, changed: Changed, state: RunState) -> None:
        """How long the training stood still to give memory back, and how much that was."""
        told, receipt = state.released, changed.receipt
        if receipt is None or receipt.attempt != state.attempt:
            return
        note = f"Cached memory was given back {told.times} times, in {told.seconds:.2f} s in all"
        if told.most_bytes is not None:
            note += f", at most {bytes_text(told.most_bytes)} at a time"
        costs = replace(receipt.costs, seconds_lost=told.seconds)
        changed.receipt = replace(receipt, science=(*receipt.science, f"{note}."), costs=costs)
        self._records.receipt(changed.receipt)

    def widened(self, plan_id: str, note: str) -> bool:
        """Whether the range that is wider again was narrowed here; its receipt says so, once."""
        changed = self._of(plan_id)
        if changed is None or changed.receipt is None:
            return False
        kept = tuple(each for each in changed.receipt.science if each != changed.widened)
        changed.receipt = replace(changed.receipt, science=(*kept, note))
        changed.widened = note
        self._records.receipt(changed.receipt)
        return True

    def rescued(
        self, attempt: Attempt, rescue: Rescue, state: RunState, user: RunSpec
    ) -> list[Action]:
        """A failure was answered in the process itself, as the policy allows: it is on record."""
        if sum(each.plan.attempt == attempt.number for each in self._changes) >= _MOST_CHANGES:
            return []  # no training rescues itself so often, whatever its process says
        verdict = verdict_of(rescue, state)
        use, edits = changes_of(rescue)
        changed = self._write(_plan(attempt.number, edits, (use,), verdict, user), verdict)
        if changed is not None:
            self._settle(changed, state, user, "rescued")
        return [Say(f"{verdict.sentence} The process survived: {use.after}.")]

    def guarded(self, attempt: Attempt, state: RunState, user: RunSpec) -> list[Action]:
        """The training began under a guard: a receipt says so, once."""
        if self._guard is not None:
            return []
        said = (
            f"A guarded start: in the first {GUARDED_BATCHES} batches, and until they were judged, "
            f"no image is larger than {user.image_size} px."
        )
        verdict = Verdict(Kind.OBSERVED, said, capacity_bytes=state.memory.capacity_bytes)
        use = LeverUse(
            "guarded start",
            Cost.ALTERS_RESULT,
            f"sizes up to {user.image_size_max} px",
            f"sizes up to {user.image_size} px, for the first batches",
            "what they take says whether the largest fit",
        )
        plan = replace(_plan(attempt.number, Edits(), (use,), verdict, user), incident=_GUARD)
        self._guard = _receipt(self._records.run, plan, verdict, state, user, "in force")
        self._records.receipt(self._guard)
        return [Say(said)]

    def _write(self, plan: Plan, verdict: Verdict) -> Changed | None:
        incident = self._records.incident(plan.attempt, verdict)
        plan = replace(plan, incident=incident)
        plan_id = self._records.plan(plan)
        if plan_id is None:
            self._records.close(incident, "refused: the journal cannot be written")
            return None
        self._changes.append(Changed(plan_id, plan, verdict))
        return self._changes[-1]

    def _settle(self, changed: Changed, state: RunState, user: RunSpec, outcome: str) -> None:
        """It is in force; a training that is to leave gets its receipt when it is started again."""
        plan = changed.plan
        if plan.levers[0].name != LEAVE_LEVER:
            run = self._records.run
            changed.receipt = _receipt(run, plan, changed.verdict, state, user, outcome)
            self._records.receipt(changed.receipt)
        changed.over = True
        self._records.end_plan(changed.plan_id, outcome)
        self._records.close(plan.incident, outcome)

    def _of(self, plan_id: str) -> Changed | None:
        return next((each for each in self._changes if each.plan_id == plan_id), None)


def _change(use: LeverUse) -> str:
    return f"{use.before} → {use.after}"


def _plan(
    attempt: int, edits: Edits, levers: tuple[LeverUse, ...], verdict: Verdict, user: RunSpec
) -> Plan:
    """A plan without an incident as yet, for the attempt that runs."""
    return Plan(
        incident="",
        attempt=attempt,
        edits=edits,
        levers=levers,
        predicted_peak_bytes=None,
        capacity_bytes=verdict.capacity_bytes,
        margin_ratio=0.0,
        reason=f"{verdict.sentence} {levers[0].why}.",
        effective_batch=user.effective_batch,
    )


def _receipt(
    run: str, plan: Plan, verdict: Verdict, state: RunState, user: RunSpec, outcome: str
) -> Receipt:
    kept = state.last_epoch_ended
    went_on = ResumePoint(Start.LIVE, "the training was changed while it ran, and went on")
    return Receipt(
        run=run,
        incident=plan.incident,
        attempt=plan.attempt,
        verdict=verdict,
        plan=plan,
        user=user,
        failed_peak_bytes=state.memory.peak_bytes,
        resume=went_on,
        files=(),
        costs=Costs(0 if kept is None else kept + 1, steps_lost=0, seconds_lost=0.0),
        science=science_notes(user, plan, went_on, bool(state.retries)),
        undo=(),
        outcome=outcome,
    )
