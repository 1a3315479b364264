"""The live orders of one run: journaled, sent, acknowledged, and seen to be in force.

Owned by the core, and like it without clock, thread or effect but the journal. One order is on its
way at a time. It is in force when the trainer itself tells of it, and stays under watch: the sizes
of the batches that follow must keep to it. An order that fails is said and recorded, and the
attempt gets no other.

Today there is one: a narrowed range of image sizes is widened again, as `decide.widening` allows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from yolowatch.daemon.attempt import Attempt
from yolowatch.daemon.healing import Healing
from yolowatch.daemon.records import Records
from yolowatch.decide.widening import wider
from yolowatch.model import events
from yolowatch.model.actions import Action, Order, Say
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import RunSpec, RunState

_ACK_SECONDS = 10.0
_BATCHES_TO_OBEY = 5  # from the acknowledgement on; a batch that is on its way may not obey yet
_WORKING = ("forward", "loss", "backward")


@dataclass
class _Sent:
    """An order on its way; `plan` is the one whose range it changes."""

    number: int
    plan: str
    ratio: float
    at: float
    acknowledged_step: int | None = None

    @property
    def step(self) -> str:
        """Its name among the steps of the plan."""
        return f"order {self.number}"

    def is_late(self, step: int | None) -> bool:
        """Whether it should have come into force before this training batch."""
        acknowledged = self.acknowledged_step
        if acknowledged is None or step is None:
            return False
        return step >= acknowledged + _BATCHES_TO_OBEY


class Ordering:
    """What is ordered of the attempt that runs; `number` counts the orders of the run."""

    def __init__(self, records: Records, healing: Healing) -> None:
        self._records = records
        self._healing = healing
        self._number = 0
        self._attempt = 0
        self._sent: _Sent | None = None
        self._kept: _Sent | None = None  # the last one that came into force
        self._since_step = 0  # since when the present range is in force
        self._stopped = False

    def heard(
        self, attempt: Attempt, connection: int, kind: str, user: RunSpec | None, at: float
    ) -> list[Action]:
        """A message of this kind was folded: what follows from it for the orders."""
        if attempt.number == 0 or user is None:
            return []
        if attempt.number != self._attempt:
            self._attempt, self._sent, self._kept = attempt.number, None, None
            self._since_step, self._stopped = 0, False
        state = attempt.states[connection]
        if kind == "ack":
            return self._acknowledged(state, at)
        if kind == "run":
            return self._described(attempt, state, at)
        if kind == "sample":
            return self._watched(state, at) or self._widen(attempt, connection, user, at)
        return []

    def tick(self, at: float) -> list[Action]:
        """Time passes: an order that nobody acknowledges has failed."""
        sent = self._sent
        if sent is None or sent.acknowledged_step is not None or at - sent.at < _ACK_SECONDS:
            return []
        return self._fail(sent, f"it was not acknowledged in {_ACK_SECONDS:g} s", at)

    def _acknowledged(self, state: RunState, at: float) -> list[Action]:
        sent, ack = self._sent, state.acks[-1] if state.acks else None
        if sent is None or ack is None or ack.id != sent.number:
            return []
        if not ack.accepted:
            return self._fail(sent, f"the hook does not obey: {ack.reason or 'no reason'}", at)
        sent.acknowledged_step = state.place.step or 0
        return []

    def _described(self, attempt: Attempt, state: RunState, at: float) -> list[Action]:
        sent, spec = self._sent, state.spec
        if sent is None or not _is_of(spec, sent.ratio):
            return []  # a batch may begin between the order's arrival and its acknowledgement
        self._sent, self._kept = None, sent
        step = self._since_step = state.place.step or 0
        attempt.edits = replace(attempt.edits, multi_scale=sent.ratio) if attempt.edits else None
        note = (
            f"Since training batch {step} of attempt {attempt.number}, image sizes are again "
            f"{1 - sent.ratio:.2f} to {1 + sent.ratio:.2f} times the image size."
        )
        self._records.done(events.StepDone(sent.plan, sent.step, note, at))
        self._healing.widened(note)
        return [Say(note)]

    def _watched(self, state: RunState, at: float) -> list[Action]:
        """Whether what was ordered is in force, as far as this window shows."""
        sent, kept, place = self._sent, self._kept, state.place
        if sent is not None and sent.is_late(place.step):
            return self._fail(sent, "it was acknowledged, and is not in force", at)
        largest = state.spec.image_size_max if state.spec is not None else None
        side = max(place.height or 0, place.width or 0)
        if kept is None or sent is not None or largest is None or place.phase not in _WORKING:
            return []
        if (place.step or 0) > self._since_step and side > largest:
            self._kept = None
            return self._fail(kept, f"a batch of {side} px came, over {largest} px", at)
        return []

    def _widen(self, attempt: Attempt, connection: int, user: RunSpec, at: float) -> list[Action]:
        healing, state = self._healing, attempt.states[connection]
        plan_id, plan = healing.carried_out, healing.receipts[-1].plan if healing.receipts else None
        if self._stopped or self._sent is not None or plan is None or plan_id is None:
            return []
        if healing.paused is not None:
            return []
        if plan.attempt != attempt.number or attempt.edits is None or _ranks(attempt) != 1:
            return []  # of several ranks one alone must not be widened
        if attempt.distrusted is not None or state.last_words is not None:
            return []
        if attempt.exited is not None:
            return []  # what it still had to say arrives after its end
        if state.spec is None or state.spec.train_calls != 1:
            return []  # a further training of the same program is as its author wrote it
        found = wider(
            user=user,
            plan=plan,
            state=state,
            batches=(state.place.step or 0) - self._since_step,
            failed_pixels=healing.lessons.failed_pixels(attempt.edits),
            policy=healing.policy,
        )
        if found is None:
            return []
        sent = _Sent(self._number + 1, plan_id, found.ratio, at)
        peak = bytes_text(found.predicted_peak_bytes)
        detail = f"sizes up to {found.side} px again, whose peak is predicted at {peak}"
        if not self._records.intend(plan_id, sent.step, detail):
            return []
        self._number, self._sent = sent.number, sent
        attempt.ordered_multi_scale = max(found.ratio, attempt.ordered_multi_scale or 0.0)
        said = Say(f"ordered: {detail}")
        return [said, Order(connection, sent.number, "multi_scale", found.ratio)]

    def _fail(self, sent: _Sent, reason: str, at: float) -> list[Action]:
        self._sent, self._stopped = None, True
        self._records.failed(events.StepFailed(sent.plan, sent.step, reason, at))
        return [Say(f"the order for a wider range of sizes failed: {reason}")]


def _is_of(spec: RunSpec | None, ratio: float) -> bool:
    told = spec.multi_scale if spec is not None else None
    return told is not None and math.isclose(told, ratio, abs_tol=1e-6)


def _ranks(attempt: Attempt) -> int:
    """How many processes of the attempt are training."""
    return sum(attempt.states[each].spec is not None for each in attempt.open)
