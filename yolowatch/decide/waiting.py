"""What fits where memory lacks through no fault of the run: the same configuration, once there is
room for it.

A neighbour on the device, or a process of the run itself that is not gone yet, is no reason to make
the run smaller. What the device must have free is what the run had and what it asked for beside it;
where that, or which device it is, is not known, a person is asked instead.
"""

from __future__ import annotations

from yolowatch.decide.detect_device import named
from yolowatch.decide.forecast import needed_at_failure
from yolowatch.decide.ladder import Recipe, original
from yolowatch.model.plan import Edits, Plan, Policy, Refusal, Room
from yolowatch.model.quantity import bytes_text, seconds_text
from yolowatch.model.run import LastWords, RunState
from yolowatch.model.verdict import Kind, Verdict


def plan_wait(
    recipe: Recipe | None,
    earlier: Edits,
    state: RunState,
    verdict: Verdict,
    policy: Policy,
    incident: str,
) -> Plan | Refusal:
    """The same configuration again when the device has room, or why a person is needed."""
    own = verdict.kind is Kind.NOT_BACK
    room = _room(state, verdict, policy)
    if isinstance(room, str) and not own:
        return Refusal(incident, room)
    found = room if isinstance(room, Room) else None
    what = "The memory of the attempt before comes back" if own else "It waits for the device"
    reason = f"{what}; the configuration stays as it is."
    if found is not None:
        free, wait = bytes_text(found.free_bytes), seconds_text(found.seconds)
        reason = f"It waits until {free} of the device are free, for {wait} at most; the "
        reason += "configuration stays as it is."
    return Plan(
        incident=incident,
        attempt=state.attempt + 1,
        edits=earlier,
        levers=(),
        predicted_peak_bytes=None,
        capacity_bytes=verdict.capacity_bytes,
        margin_ratio=policy.margin_ratio,
        reason=reason,
        effective_batch=recipe.effective_batch if recipe is not None else None,
        original=original(recipe),
        ranks=state.ranks,
        room=found,
    )


def room_for(plan: Plan, state: RunState, verdict: Verdict, policy: Policy) -> Room | None:
    """What any other plan needs of its device before it may start; None where that is unknown.

    It was free when the plan was made. Somebody may have taken it since. Of devices on which a
    training is only to be spread, the driver must say that nobody has.
    """
    own, needed = verdict.device_index, plan.predicted_peak_bytes
    if plan.room is not None or own is None:
        return plan.room
    seconds = max(policy.thresholds.neighbour_wait_seconds, policy.memory_wait_seconds)
    if plan.edits.more_gpus is not None and plan.ranks > state.ranks:
        beside = tuple(each for each in plan.edits.more_gpus if each != own)
        reason = "a device that was idle is so no more, or its driver does not tell"
        return Room(own, needed or 0, seconds, reason, beside=beside)
    if needed is None:
        return None
    reason = "the device has not the memory that the next attempt is predicted to take; somebody "
    return Room(own, needed, seconds, f"{reason}else has taken it", proof=False)


def _room(state: RunState, verdict: Verdict, policy: Policy) -> Room | str:
    """The room that the same configuration needs, or why nothing can be waited for."""
    who = f": {named(verdict.neighbours)}" if verdict.neighbours else ""
    if verdict.device_index is None:
        return (
            "Others use the device, and its driver does not tell when they are gone, so a person "
            f"is needed{who}. The run is not made smaller for that."
        )
    needed = _needed(state.last_words) if state.last_words is not None else None
    if needed is None:
        return f"How much the run needs of the device is not known, so a person is needed{who}."
    seconds = policy.thresholds.neighbour_wait_seconds
    if verdict.kind is Kind.NOT_BACK:
        seconds = policy.memory_wait_seconds
    if seconds <= 0:
        return f"Others use the device, and the policy does not wait for them{who}."
    return Room(
        verdict.device_index,
        needed,
        seconds,
        f"the device did not have {bytes_text(needed)} free within {seconds_text(seconds)}{who}",
    )


def _needed(words: LastWords) -> int | None:
    """What the run had of the device and what it asked for beside it."""
    needed = needed_at_failure(words)
    held = (words.memory.reserved_bytes, words.memory.peak_bytes, needed)
    return max((each for each in held if each is not None), default=None)
