"""The sentences of plans and refusals about memory."""

from __future__ import annotations

import math

from yolowatch.decide.forecast import Laws, needed_at_failure
from yolowatch.decide.ladder import Candidate
from yolowatch.model.plan import Policy, Rejected
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import RunState
from yolowatch.model.verdict import Verdict

NO_NAMED_LEVER_FITS = (
    "The policy does not name the batch, and no lever that it names is predicted to be enough."
)
_FOR_A_PERSON = "A smaller image size or model is a decision for a person."


def not_to_be_had(levers: tuple[Rejected, ...]) -> str:
    """Why each of these levers, which the policy names, is not; a sentence each, to go on with."""
    return "".join(f" The lever {each.option}: {each.reason}." for each in levers)


def figures(chosen: Candidate, verdict: Verdict, policy: Policy) -> str:
    """The prediction against the capacity, in brackets; empty where either is unknown."""
    highest = chosen.peaks.highest
    if highest is None or verdict.capacity_bytes is None:
        return ""
    capacity = bytes_text(verdict.capacity_bytes)
    return f" ({bytes_text(highest)} of {capacity}, {policy.margin_ratio:.0%} to be kept free)"


def cannot_fit(state: RunState, verdict: Verdict, laws: Laws) -> str:
    """Why nothing is left below batch 1."""
    words = state.last_words
    needed = needed_at_failure(words) if words is not None else None
    capacity = bytes_text(verdict.capacity_bytes)
    known = ""
    if needed is not None and verdict.capacity_bytes is not None:
        known = f" ({bytes_text(needed)} were needed of {capacity})"
    elif laws.training is not None and verdict.capacity_bytes is not None:
        fixed = bytes_text(laws.training.fixed_bytes)
        known = f" ({fixed} do not depend on the batch, of {capacity})"
    return f"It cannot fit: it failed at batch 1, the smallest there is{known}. {_FOR_A_PERSON}"


def nothing_fits(candidates: tuple[Candidate, ...], limit: float | None) -> str:
    """Why none of these batches is taken, with no lever beside them."""
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


def recipe_words(batch: int | None, effective: int, nbs: int | None, decay: float | None) -> str:
    """A batch with its accumulation, as before or after a plan."""
    if not batch:
        return "unknown"
    times = effective / batch
    shown = f"{times:.0f}" if math.isclose(times, round(times)) else f"about {times:.1f}"
    text = f"batch {batch}, {shown} an optimizer step"
    if nbs is not None:
        text += f", nbs {nbs}"
    return text if decay is None else f"{text}, weight decay {decay:.6g}"
