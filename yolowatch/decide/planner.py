"""From a verdict to a plan: the largest batch that is predicted to fit, or a reasoned refusal.

Refusing is the default: each condition of acting is asked for and must be known to hold. A law that
is only a bound never replaces halving, it can only ask for less than half.
"""

from __future__ import annotations

from yolowatch.decide import opt_in, spreading
from yolowatch.decide.after_training import unvalidated
from yolowatch.decide.budget import AttemptHistory, exhausted, without_progress
from yolowatch.decide.forecast import Laws, needed_at_failure
from yolowatch.decide.free import FreeLever, free_lever
from yolowatch.decide.host import Cause, host_cause, host_lever
from yolowatch.decide.ladder import (
    MAX_REJECTED,
    Recipe,
    batch_edits,
    original,
    rejected,
)
from yolowatch.decide.waiting import plan_wait
from yolowatch.decide.weighing import Failure, weigh
from yolowatch.decide.wording import (
    NO_NAMED_LEVER_FITS,
    cannot_fit,
    figures,
    not_to_be_had,
    nothing_fits,
    recipe_words,
)
from yolowatch.model.plan import COSTS, Edits, LeverUse, Plan, Policy, Refusal
from yolowatch.model.run import RunSpec, RunState
from yolowatch.model.surroundings import Around
from yolowatch.model.verdict import Verdict, Where
from yolowatch.trainers.families import family, unknown_release

_UNTOUCHED, _NOTHING_SEEN = Edits(), Around()


def plan(
    *,
    user: RunSpec,
    earlier: Edits = _UNTOUCHED,
    state: RunState,
    verdict: Verdict,
    laws: Laws,
    history: AttemptHistory,
    policy: Policy,
    incident: str,
    around: Around = _NOTHING_SEEN,
) -> Plan | Refusal:
    """What to do about a failed attempt.

    `user` is attempt 0 as its trainer first described it, before any retry of its own; `earlier`,
    `state`, `verdict` and `laws` are the failed attempt's, which had been given the edits
    `earlier`; `history` includes it; `around` is what was seen beside it.
    """
    missing = unvalidated(user, state, verdict) if verdict.kind.is_oom else None
    if missing is not None:
        return Refusal(incident, missing, trained=True)
    against = _against(user, state, verdict, history, policy)
    if against is not None:
        return Refusal(incident, against)
    recipe = Recipe.of(user)
    if verdict.kind.is_waited_out:
        return plan_wait(recipe, earlier, state, verdict, policy, incident)
    if verdict.kind.is_host:
        return _plan_host(user, recipe, earlier, state, verdict, policy, incident)
    if recipe is None:
        unknown = "The effective batch or weight decay of the run is not known"
        return Refusal(incident, f"{unknown}, so it cannot be kept.")
    if _unplaced(state, verdict):
        return Refusal(incident, "It is not known where in the training memory ran out.")
    limit = _limit(state, verdict, policy)
    laws = laws.as_bound() if without_progress(history) > 1 else laws  # a prediction has failed
    free = free_lever(state, verdict, laws, limit, earlier, _allowed(user, policy))
    if free is not None:
        return _plan_free(free, recipe, earlier, state, verdict, policy, incident)
    if verdict.where is Where.VALIDATION and not _validation_batch_known(state):
        return Refusal(incident, "The validation batch that failed is not known.")
    failed = _failed_batch(state)
    if failed is None:
        return Refusal(incident, "The batch that failed is not known.")
    devices = spreading.devices(state.spec if state.spec is not None else user, around)
    return _plan_step(
        user, recipe, earlier, state, verdict, laws, limit, failed, devices, policy, incident
    )


def _plan_step(
    user: RunSpec,
    recipe: Recipe,
    earlier: Edits,
    state: RunState,
    verdict: Verdict,
    laws: Laws,
    limit: float | None,
    failed: int,
    devices: spreading.Devices,
    policy: Policy,
    incident: str,
) -> Plan | Refusal:
    """The cheapest set of levers with the largest batch that is predicted to fit."""
    before = state.spec if state.spec is not None else user
    allowed = _allowed(user, policy)
    unavailable = opt_in.rejected(before, earlier, policy.levers, state.ranks, devices)
    unsure = _unsure(state, before, verdict)
    failure = Failure(user, recipe, earlier, state, verdict, laws, limit, failed, unsure, devices)
    weighed = weigh(failure, policy, allowed)
    found = weighed.found
    if found is None:
        least = failed <= state.ranks
        against = (*unavailable, *weighed.rejected[: None if least else MAX_REJECTED])
        alone = nothing_fits(weighed.alone, limit) if "batch" in allowed else NO_NAMED_LEVER_FITS
        why = cannot_fit(state, verdict, laws) if least else alone
        return Refusal(incident, f"{why}{not_to_be_had(unavailable)}", against)
    levers, ranks, chosen, reason = found.levers, found.ranks, found.chosen, found.reason
    larger = tuple(each for each in found.candidates if each.batch > chosen.batch)
    rejects = (*weighed.rejected, *rejected(larger, limit, levers.title))
    reason += figures(chosen, verdict, policy)
    effective, uses, changed = recipe.effective_batch, levers.uses, levers.edits
    if chosen.batch != failed:
        edits = batch_edits(recipe, chosen.batch)
        use = LeverUse(
            name="batch",
            cost=COSTS["batch"],
            before=recipe_words(before.batch, effective, before.nbs, before.weight_decay),
            after=recipe_words(edits.batch, effective, edits.nbs, edits.weight_decay),
            why=reason,
        )
        uses, changed = (*uses, use), edits.over(changed)
    elif changed.more_gpus is not None:
        changed = batch_edits(recipe, failed).over(changed)  # ranks choose no batch by themselves
    title = f"Batch {chosen.batch}" + (f" with {levers.title}" if levers.uses else "")
    if ranks > 1:
        title += f", {chosen.batch // ranks} in each of {ranks} ranks"
    return Plan(
        incident=incident,
        attempt=state.attempt + 1,
        edits=changed.over(earlier),
        levers=uses,
        predicted_peak_bytes=chosen.peaks.highest,
        capacity_bytes=verdict.capacity_bytes,
        margin_ratio=policy.margin_ratio,
        reason=f"{title}: {reason}.",
        rejected=(*unavailable, *rejects[-MAX_REJECTED:]),
        effective_batch=effective,
        original=original(recipe),
        ranks=ranks,
    )


def _plan_host(
    user: RunSpec,
    recipe: Recipe | None,
    earlier: Edits,
    state: RunState,
    verdict: Verdict,
    policy: Policy,
    incident: str,
) -> Plan | Refusal:
    """A lever for the host's memory; the recipe may be unknown, since it is not touched."""
    cause = host_cause(state, state.last_words) if state.last_words is not None else Cause.KILLED
    lever = host_lever(state.spec, cause, earlier, _allowed(user, policy)) if cause else None
    if lever is None:
        return Refusal(incident, f"{verdict.sentence} No lever for that is left.")
    return _plan_free(lever, recipe, earlier, state, verdict, policy, incident)


def _plan_free(
    free: FreeLever,
    recipe: Recipe | None,
    earlier: Edits,
    state: RunState,
    verdict: Verdict,
    policy: Policy,
    incident: str,
) -> Plan:
    """A plan of one lever that costs the science nothing; the batch stays."""
    return Plan(
        incident=incident,
        attempt=state.attempt + 1,
        edits=free.edits.over(earlier),
        levers=(free.use,),
        predicted_peak_bytes=free.peak_bytes,
        capacity_bytes=verdict.capacity_bytes,
        margin_ratio=policy.margin_ratio,
        reason=f"The batch stays: {free.use.why}.",
        effective_batch=recipe.effective_batch if recipe is not None else None,
        original=original(recipe),
        ranks=state.ranks,
    )


def _against(
    user: RunSpec, state: RunState, verdict: Verdict, history: AttemptHistory, policy: Policy
) -> str | None:
    """The first reason not to act at all, or None."""
    if not (verdict.kind.is_oom or verdict.kind.is_waited_out):
        return f"Nothing is changed: {verdict.sentence}"
    if policy.mode == "observe":
        return "The mode is observe: failures are reported and nothing is changed."
    trainer = family(user.trainer)
    if trainer is None:
        return "The trainer is not one that can be resumed from outside."
    unknown = unknown_release(trainer, user.trainer_version)
    if unknown is not None:
        return unknown
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
    if verdict.where is Where.SETUP and verdict.kind.is_oom and not verdict.kind.is_host:
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
        batch = words.place.batch * state.ranks if words.place.batch is not None else None
    return batch if batch is not None and batch > 0 else None


def _unplaced(state: RunState, verdict: Verdict) -> bool:
    """Whether what failed may be something that no lever of a step answers."""
    words = state.last_words
    return verdict.where is Where.UNKNOWN and (words is None or words.place.phase != "data")


def _validation_batch_known(state: RunState) -> bool:
    words = state.last_words
    told = state.spec.validation_batch if state.spec is not None else None
    return bool(told) or (words is not None and (words.place.batch or 0) > 1)


def _unsure(state: RunState, spec: RunSpec, verdict: Verdict) -> bool:
    """Whether a cheaper answer may only be unknown: then nothing alters the result."""
    words = state.last_words
    if words is None or words.place.pixels is None or verdict.capacity_bytes is None:
        return True
    return state.spec is None or None in (spec.checkpointable, spec.image_size_max)


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


def _allowed(user: RunSpec, policy: Policy) -> frozenset[str]:
    """The levers that the policy permits and the trainer has."""
    trainer = family(user.trainer)
    return frozenset(policy.levers) & frozenset(trainer.LEVERS if trainer is not None else ())
