"""Asks, as a training goes on, what is foreseen of it and what is to be done about that.

Between the ordering, which owns what is sent, and `decide.prevent`, which knows nothing of
attempts. What is foreseen is looked at when the hook has told what a batch took, and when the
trainer describes the run; not for each message.
"""

from __future__ import annotations

import functools
from collections.abc import Collection

from yolowatch.daemon.attempt import Attempt
from yolowatch.daemon.deciding import decide
from yolowatch.daemon.foreseeing import Foreseeing, Recall
from yolowatch.daemon.healing import Healing
from yolowatch.daemon.living import Living
from yolowatch.daemon.records import Records
from yolowatch.decide.looking import looks
from yolowatch.decide.prevent import LEAVE, Preventive, foreseen, prevent
from yolowatch.model.actions import Action, Say
from yolowatch.model.plan import Refusal
from yolowatch.model.run import RunSpec, RunState

_TELLING = ("run", "footprints")
# A young training may fail at any batch; later a look is dear, and what is new in it is little.
_YOUNG_FOOTPRINTS, _PAUSE_SECONDS = 64, 1.0

Wanted = tuple[str, str, Preventive]
"""The id of a journaled plan, what it is for, and the order that carries it out."""


class Preventing:
    """What was foreseen of the attempt that runs, and said or ordered."""

    def __init__(
        self, records: Records, living: Living, healing: Healing, foreseeing: Foreseeing
    ) -> None:
        self._records = records
        self._living = living
        self._healing = healing
        self._foreseeing = foreseeing
        self._recall = Recall(records)
        self._not_before: dict[str, float] = {}  # for each order
        self._recommended: set[tuple[int, str]] = set()  # attempt and order
        self._looked_at = float("-inf")
        self._cannot_leave: int | None = None  # the attempt for which there is no plan

    def is_told(self, kind: str, state: RunState) -> bool:
        """Whether a message of this kind tells what is to come."""
        # Before the first batch only an earlier run's law can tell, and what is in use by then.
        first = kind == "sample" and not state.footprints and state.spec is not None
        return kind in _TELLING or first

    def heard(
        self,
        attempt: Attempt,
        connection: int,
        user: RunSpec,
        stopped: Collection[str],
        at: float,
    ) -> tuple[list[Action], Wanted | None]:
        """(what is to be said, the order that is wanted) after a message that tells."""
        state, policy = attempt.states[connection], self._healing.acting_policy
        if len(state.footprints) > _YOUNG_FOOTPRINTS and 0 <= at - self._looked_at < _PAUSE_SECONDS:
            return [], None
        self._looked_at = at
        most_boxes = self._foreseeing.most_boxes
        found = prevent(
            state, functools.partial(looks, state, self._recall.of(state), most_boxes), policy
        )
        if found is None or found.order in stopped:
            return [], None
        if at < self._not_before.get(found.order, at):
            return [], None
        if policy.mode != "auto":
            return self._recommend(attempt, found), None
        if found.order == LEAVE and not self._may_leave(attempt, user):
            return [], None
        self._not_before[found.order] = at + policy.prevention_cooldown_seconds
        begun = self._living.begin(attempt, found, user, policy)
        return [], None if begun is None else (*begun, found)

    def _recommend(self, attempt: Attempt, found: Preventive) -> list[Action]:
        """Said once for each attempt and order."""
        said = attempt.number, found.order
        if said in self._recommended:
            return []
        self._recommended.add(said)
        return [Say(self._living.recommend(attempt, found))]

    def _may_leave(self, attempt: Attempt, user: RunSpec) -> bool:
        """Whether a training that ends would be started again, and otherwise than it is."""
        healing = self._healing
        if healing.adopted or self._cannot_leave == attempt.number:
            return False
        state = attempt.state()
        lessons = healing.lessons.after(
            attempt.number, state, attempt.edits, attempt.completed_epoch(), saved=True
        )
        planned = decide(attempt, foreseen(state), user, "", lessons, healing.policy)
        if isinstance(planned, Refusal):
            self._cannot_leave = attempt.number
            return False
        return True
