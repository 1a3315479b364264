"""From a verdict to a plan: the largest batch that is predicted to fit, or a reasoned refusal.

Refusing is the default: each condition of acting is asked for and must be known to hold. A law that
is only a bound never replaces halving, it can only ask for less than half.
"""

from __future__ import annotations

import math

from yolowatch.decide.budget import AttemptHistory, exhausted
from yolowatch.decide.forecast import Laws, needed_at_failure
from yolowatch.decide.ladder import (
    Candidate,
    Recipe,
    batch_edits,
    fits,
    rejected,
    smaller_batches,
)
from yolowatch.model.plan import Cost, Edits, LeverUse, Plan, Policy, Refusal
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import RunSpec, RunState
from yolowatch.model.verdict import Verdict, Where
from yolowatch.trainers.families import family

_FOR_A_PERSON = "A smaller image size or model is a decision for a person."


def plan(
    *,
    user: RunSpec,
    state: RunState,
    verdict: Verdict,
    laws: Laws,
    history: AttemptHistory,
    policy: Policy,
    incident: str,
) -> Plan | Refusal:
    """What to do about a failed attempt.

    `user` is attempt 0 as its trainer first described it, before any retry of its own; `state`,
    `verdict` and `laws` are the failed attempt's; `history` includes it.
    """
    against = _against(user, state, verdict, history, policy)
    if against is not None:
        return Refusal(incident, against)
    recipe = Recipe.of(user)
    if recipe is None:
        return Refusal(
            incident,
            "The effective batch or weight decay of the run is not known, so it cannot be kept.",
        )
    failed = _failed_batch(state)
    if failed is None:
        return Refusal(incident, "The batch that failed is not known.")
    if failed == 1:
        return Refusal(incident, _cannot_fit(state, verdict, laws))
    limit = _limit(state, verdict, policy)
    candidates = smaller_batches(user, recipe, state, laws, failed)
    chosen, reason = _choose(candidates, laws, limit, failed, verdict, policy.margin_ratio)
    if chosen is None:
        return Refusal(incident, _nothing_fits(candidates, limit), rejected(candidates, limit))
    larger = tuple(each for each in candidates if each.batch > chosen.batch)
    edits = batch_edits(recipe, chosen.batch)
    figures = _figures(chosen, verdict, policy)
    before = state.spec if state.spec is not None else user
    effective = recipe.effective_batch
    return Plan(
        incident=incident,
        attempt=state.attempt + 1,
        edits=edits,
        levers=(
            LeverUse(
                name="batch",
                cost=Cost.COMPENSATED,
                before=_words(before.batch, effective, before.nbs, before.weight_decay),
                after=_words(edits.batch, effective, edits.nbs, edits.weight_decay),
                why=reason + figures,
            ),
        ),
        predicted_peak_bytes=chosen.peaks.highest,
        capacity_bytes=verdict.capacity_bytes,
        margin_ratio=policy.margin_ratio,
        reason=f"Batch {chosen.batch}: {reason}{figures}.",
        rejected=rejected(larger, limit),
        effective_batch=effective,
        original=Edits(recipe.batch, recipe.nbs, recipe.weight_decay),
    )


def _against(
    user: RunSpec, state: RunState, verdict: Verdict, history: AttemptHistory, policy: Policy
) -> str | None:
    """The first reason not to act at all, or None."""
    if not verdict.kind.is_oom:
        return f"Nothing is changed: {verdict.sentence}"
    if policy.mode == "observe":
        return "The mode is observe: failures are reported and nothing is changed."
    if family(user.trainer) is None:
        return "The trainer is not one that can be resumed from outside."
    if not user.run_dir:
        return "The directory of the run is not known."
    calls = _train_calls(user, state)
    if user.entry is None or calls is None:
        return "It is not known how the training was started, so it is not started again."
    if calls != 1:
        who = "program" if user.entry == "script" else "command"
        return (
            f"The {who} started {calls} trainings; starting it again would repeat what is "
            "complete. Nothing is run twice."
        )
    if verdict.where is Where.SETUP:
        return "It failed before the first batch, where a smaller batch changes nothing."
    spent = exhausted(history, policy.attempts_without_progress)
    return None if spent is None else f"The run makes no progress: {spent}. A person is needed."


def _train_calls(user: RunSpec, state: RunState) -> int | None:
    told = [user.train_calls]
    if state.spec is not None:
        told.append(state.spec.train_calls)
    if state.last_words is not None:
        told.append(state.last_words.train_calls)
    return max((each for each in told if each is not None), default=None)


def _failed_batch(state: RunState) -> int | None:
    """The nominal training batch that failed: the last batch of an epoch may be a smaller rest."""
    batch = state.spec.batch if state.spec is not None else None
    words = state.last_words
    if batch is None and words is not None and words.place.phase != "validation":
        batch = words.place.batch
    return batch if batch is not None and batch > 0 else None


def _limit(state: RunState, verdict: Verdict, policy: Policy) -> float | None:
    """Bytes that a predicted peak may take: the capacity, or what failed if that is less.

    What was in use plus what was asked for did not fit, whatever the capacity: it was not there in
    one piece. Of an unknown capacity only what was in use is known to be there.
    """
    words = state.last_words
    reached: int | None = None
    if words is not None:
        needed = needed_at_failure(words) if verdict.capacity_bytes is not None else None
        used = words.memory.allocated_bytes if needed is None else needed
        marks = [each for each in (used, words.memory.peak_bytes) if each is not None]
        reached = max(marks, default=None)
    known = [each for each in (verdict.capacity_bytes, reached) if each is not None]
    return min(known) * (1.0 - policy.margin_ratio) if known else None


def _choose(
    candidates: tuple[Candidate, ...],
    laws: Laws,
    limit: float | None,
    failed: int,
    verdict: Verdict,
    margin_ratio: float,
) -> tuple[Candidate | None, str]:
    """(the largest candidate that may be taken, why it); None when none may."""
    allowed = [each for each in candidates if each.objection is None]
    predicted = limit is not None and any(each.peaks.training is not None for each in allowed)
    # The law of a training step says too little of what failed elsewhere.
    direct = verdict.where in (Where.STEP, Where.MULTI_SCALE_PEAK)
    bound = failed - 1 if predicted and direct and not laws.weak else failed // 2
    small = [each for each in allowed if each.batch <= bound]
    if limit is None or not predicted:
        if not small:
            return None, ""
        return small[0], "too little is known to predict a peak, so the batch is halved"
    for each in small:
        if fits(each, limit):
            if bound == failed - 1:
                return each, "it is the largest batch that is predicted to fit"
            return each, "the prediction is only a bound, so at most half is taken"
    if laws.weak and small:
        return small[-1], "no batch is predicted to fit, but the prediction is only a bound"
    if small and fits(small[-1], limit / (1.0 - margin_ratio)):
        return small[-1], "no batch is predicted to leave the margin, but the smallest may fit"
    return None, ""


def _figures(chosen: Candidate, verdict: Verdict, policy: Policy) -> str:
    highest = chosen.peaks.highest
    if highest is None or verdict.capacity_bytes is None:
        return ""
    capacity = bytes_text(verdict.capacity_bytes)
    return f" ({bytes_text(highest)} of {capacity}, {policy.margin_ratio:.0%} to be kept free)"


def _cannot_fit(state: RunState, verdict: Verdict, laws: Laws) -> str:
    words = state.last_words
    needed = needed_at_failure(words) if words is not None else None
    capacity = bytes_text(verdict.capacity_bytes)
    figures = ""
    if needed is not None and verdict.capacity_bytes is not None:
        figures = f" ({bytes_text(needed)} were needed of {capacity})"
    elif laws.training is not None and verdict.capacity_bytes is not None:
        fixed = bytes_text(laws.training.fixed_bytes)
        figures = f" ({fixed} do not depend on the batch, of {capacity})"
    return f"It cannot fit: it failed at batch 1, the smallest there is{figures}. {_FOR_A_PERSON}"


def _nothing_fits(candidates: tuple[Candidate, ...], limit: float | None) -> str:
    allowed = [each for each in candidates if each.objection is None]
    if not allowed or allowed[-1].peaks.highest is None or limit is None:
        return (
            "There is no smaller batch that divides the effective batch and that the trainer keeps."
        )
    smallest = allowed[-1]
    return (
        f"It cannot fit at batch {smallest.batch}: its peak is predicted at "
        f"{bytes_text(smallest.peaks.highest)}, over the {bytes_text(limit)} that may be used. "
        f"{_FOR_A_PERSON}"
    )


def _words(batch: int | None, effective: int, nbs: int | None, decay: float | None) -> str:
    if not batch:
        return "unknown"
    times = effective / batch
    shown = f"{times:.0f}" if math.isclose(times, round(times)) else f"about {times:.1f}"
    text = f"batch {batch}, {shown} an optimizer step"
    if nbs is not None:
        text += f", nbs {nbs}"
    return text if decay is None else f"{text}, weight decay {decay:.6g}"
