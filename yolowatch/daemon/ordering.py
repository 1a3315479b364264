"""The live orders of one run: journaled, sent, acknowledged, and seen to be in force.

Owned by the core, and like it without clock, thread or effect but the journal. One order is on its
way at a time. It is in force when the trainer itself tells of it, and stays under watch: the
batches that follow must keep to it. An order that fails is said and recorded, and the attempt gets
no other of its name.

What is ordered is decided elsewhere: `decide.widening` lets a narrowed range of sizes become wider
again, `preventing` answers what is foreseen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from yolowatch.daemon.attempt import Attempt
from yolowatch.daemon.foreseeing import Foreseeing
from yolowatch.daemon.healing import Healing
from yolowatch.daemon.living import Living
from yolowatch.daemon.preventing import Preventing
from yolowatch.daemon.records import Records
from yolowatch.decide.prevent import MULTI_SCALE, RELEASE, VALIDATION_BATCH, in_force
from yolowatch.decide.widening import wider
from yolowatch.model import events
from yolowatch.model.actions import Action, Order, Say
from yolowatch.model.plan import Edits
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import RunSpec, RunState

_ACK_SECONDS = 10.0
_BATCHES_TO_OBEY = 5  # from the acknowledgement on; a batch that is on its way may not obey yet
_WORKING = ("forward", "loss", "backward")


@dataclass
class _Sent:
    """An order on its way; `plan` is the one that it carries out."""

    number: int
    plan: str
    name: str
    value: float
    what: str  # it is for, in a few words
    at: float
    widens: bool = False  # a range that had been narrowed
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

    def __init__(self, records: Records, healing: Healing, foreseeing: Foreseeing) -> None:
        self._records = records
        self._healing = healing
        self.living = Living(records)
        self._preventing = Preventing(records, self.living, healing, foreseeing)
        self._number = 0
        self._attempt = 0
        self._sent: _Sent | None = None
        self._kept: _Sent | None = None  # the last range of sizes that came into force
        self._since_step = 0  # since when the present range is in force
        self._stopped: set[str] = set()  # names of which the attempt gets no further order

    def heard(
        self, attempt: Attempt, event: events.HookMessage, user: RunSpec | None
    ) -> list[Action]:
        """This message was folded: what follows from it for the orders."""
        if user is None:
            return []
        connection, kind, at = event.connection, event.kind, event.at
        if attempt.number != self._attempt:
            self._attempt, self._sent, self._kept = attempt.number, None, None
            self._since_step = 0
            self._stopped.clear()
        state = attempt.states[connection]
        actions: list[Action] = []
        if kind == "ack":
            return self._acknowledged(state, at)
        if kind == "run":
            actions = self._described(attempt, state, user, at)
        elif kind == "rescue" and state.rescues:
            actions = self._rescued(attempt, state, user)
        elif kind == "sample":
            actions = self._watched(state, at)
            actions = actions or self._widen(attempt, connection, user, at)
        return actions or self._prevent(attempt, connection, kind, user, at)

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

    def _described(
        self, attempt: Attempt, state: RunState, user: RunSpec, at: float
    ) -> list[Action]:
        said: list[Action] = []
        if state.spec is not None and state.spec.guarded:
            said = self.living.guarded(attempt, state, user)
        sent = self._sent
        # A batch may begin between the order's arrival and its acknowledgement.
        if sent is None or not in_force(state.spec, sent.name, sent.value):
            return said
        self._sent, step = None, state.place.step or 0
        if sent.name == MULTI_SCALE:
            self._kept, self._since_step = sent, step
        if sent.name in (MULTI_SCALE, VALIDATION_BATCH):
            attempt.edits = _edits(sent).over(attempt.edits or Edits())
        note = f"Since training batch {step} of attempt {attempt.number}, {_now(sent)}."
        self._records.done(events.StepDone(sent.plan, sent.step, note, at))
        self.living.in_force(sent.plan, state, user)
        if sent.widens and not self.living.widened(sent.plan, note):
            self._healing.widened(note)
        return [*said, Say(note)]

    def _watched(self, state: RunState, at: float) -> list[Action]:
        """Whether what was ordered is in force, as far as the newest window shows."""
        sent, kept = self._sent, self._kept
        if sent is not None and sent.is_late(state.place.step):
            return self._fail(sent, "it was acknowledged, and is not in force", at)
        largest = state.spec.image_size_max if state.spec is not None else None
        if kept is None or sent is not None or largest is None:
            return []
        place = state.place
        side = max(place.height or 0, place.width or 0)
        since = (place.step or 0) > self._since_step
        if since and place.phase in _WORKING and side > largest:
            self._kept = None
            return self._fail(kept, f"a batch of {side} px came, over {largest} px", at)
        return []

    def _rescued(self, attempt: Attempt, state: RunState, user: RunSpec) -> list[Action]:
        rescue = state.rescues[-1]
        if rescue.what != "validation":
            attempt.edits = replace(attempt.edits or Edits(), checkpointing=True)
        elif rescue.after is not None:
            attempt.edits = replace(attempt.edits or Edits(), validation_batch=rescue.after)
        return self.living.rescued(attempt, rescue, state, user)

    def _widen(self, attempt: Attempt, connection: int, user: RunSpec, at: float) -> list[Action]:
        healing, state = self._healing, attempt.states[connection]
        narrowed = self.living.narrowed(attempt.number)
        if narrowed is None and healing.receipts and healing.carried_out is not None:
            narrowed = healing.carried_out, healing.receipts[-1].plan
        if MULTI_SCALE in self._stopped or narrowed is None or attempt.edits is None:
            return []
        plan_id, plan = narrowed
        if plan.attempt != attempt.number or not self._may_order(attempt, connection):
            return []
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
        peak = bytes_text(found.predicted_peak_bytes)
        detail = f"sizes up to {found.side} px again, whose peak is predicted at {peak}"
        sent = _Sent(self._number + 1, plan_id, MULTI_SCALE, found.ratio, detail, at, True)
        actions = self._send(connection, sent)
        if actions:
            attempt.ordered_multi_scale = max(found.ratio, attempt.ordered_multi_scale or 0.0)
        return actions

    def _prevent(
        self, attempt: Attempt, connection: int, kind: str, user: RunSpec, at: float
    ) -> list[Action]:
        if not self._preventing.is_told(kind, attempt.states[connection]):
            return []
        if not self._may_order(attempt, connection):
            return []
        actions, wanted = self._preventing.heard(attempt, connection, user, self._stopped, at)
        if wanted is None:
            return actions
        plan_id, detail, found = wanted
        sent = _Sent(self._number + 1, plan_id, found.order, found.value, detail, at)
        return actions + self._send(connection, sent)

    def _may_order(self, attempt: Attempt, connection: int) -> bool:
        """Whether this training may be given an order now."""
        state = attempt.states[connection]
        if self._sent is not None or self._healing.paused is not None:
            return False
        if self._healing.foreign is not None or not self._records.healthy:
            return False
        if attempt.distrusted is not None or state.last_words is not None:
            return False
        if attempt.exited is not None or attempt.asked_to_stop:
            return False  # what it still had to say arrives after its end
        if state.spec is None or state.spec.train_calls != 1:
            return False  # a further training of the same program is as its author wrote it
        return _ranks(attempt) == 1  # of several ranks one alone must not be changed

    def _send(self, connection: int, sent: _Sent) -> list[Action]:
        if not self._records.intend(sent.plan, sent.step, sent.what):
            return []
        self._number, self._sent = sent.number, sent
        said = Say(f"ordered: {sent.what}")
        return [said, Order(connection, sent.number, sent.name, sent.value)]

    def _fail(self, sent: _Sent, reason: str, at: float) -> list[Action]:
        self._sent = None
        self._stopped.add(sent.name)
        self._records.failed(events.StepFailed(sent.plan, sent.step, reason, at))
        if not sent.widens:
            self.living.failed(sent.plan, reason)
        return [Say(f"the order for {_named(sent)} failed: {reason}")]


def _named(sent: _Sent) -> str:
    if sent.name == MULTI_SCALE:
        return f"a {'wider' if sent.widens else 'narrower'} range of sizes"
    names = {VALIDATION_BATCH: "a smaller validation batch", RELEASE: "releasing what is cached"}
    return names.get(sent.name, "a planned restart")


def _now(sent: _Sent) -> str:
    """What is in force, as the end of a sentence."""
    if sent.name == MULTI_SCALE:
        again = "again " if sent.widens else ""
        return (
            f"image sizes are {again}{1 - sent.value:.2f} to {1 + sent.value:.2f} times the image "
            "size"
        )
    if sent.name == VALIDATION_BATCH:
        return f"validation takes {sent.value:g} images at a time"
    if sent.name == RELEASE:
        return "cached memory is given back between the phases"
    return "the training is to end with its epoch"


def _edits(sent: _Sent) -> Edits:
    if sent.name == MULTI_SCALE:
        return Edits(multi_scale=sent.value)
    return Edits(validation_batch=int(sent.value))


def _ranks(attempt: Attempt) -> int:
    """How many processes of the attempt are training."""
    return sum(attempt.states[each].spec is not None for each in attempt.open)
