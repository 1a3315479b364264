"""Asks the planner about an attempt that ran out of memory, and makes its plan an order.

Between the core, which owns the attempt, and `decide`, which knows nothing of attempts.
"""

from __future__ import annotations

from dataclasses import replace

from yolowatch.daemon.attempt import Attempt
from yolowatch.daemon.lessons import Lessons
from yolowatch.decide import forecast, planner
from yolowatch.decide.waiting import room_for
from yolowatch.model.actions import Remediation
from yolowatch.model.plan import Edits, Plan, Policy, Refusal
from yolowatch.model.run import RunSpec
from yolowatch.model.surroundings import Around
from yolowatch.model.verdict import Verdict


def decide(
    attempt: Attempt,
    verdict: Verdict,
    user: RunSpec | None,
    incident: str,
    lessons: Lessons,
    policy: Policy,
    around: Around,
) -> Plan | Refusal:
    """What to do about an attempt that has ended with this verdict."""
    obstacle = attempt.obstacle() if user is not None or attempt.group() else None
    if obstacle is not None:
        return Refusal(incident, obstacle)
    if user is None:
        return Refusal(incident, "the hook did not tell what is trained")
    state = replace(attempt.state(), footprints=lessons.footprints)
    found = planner.plan(
        user=user,
        earlier=attempt.edits or Edits(),
        state=state,
        verdict=verdict,
        laws=forecast.fit(state, lessons.most_boxes),
        history=lessons.history,
        policy=policy,
        incident=incident,
        around=around,
    )
    if isinstance(found, Refusal):
        return found
    return replace(found, room=room_for(found, state, verdict, policy))


def order_of(
    plan_id: str,
    plan: Plan,
    attempt: Attempt,
    user: RunSpec,
    *,
    has_saved: bool,
    copies: tuple[str, ...] = (),
    adopted: bool = False,
) -> Remediation:
    """All that those who carry the plan out need to know."""
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
        copies,
        adopted,
    )
