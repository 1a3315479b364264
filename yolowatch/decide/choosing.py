"""Which of the batches that were weighed with a set of levers is taken.

A law that is only a bound never replaces halving, it can only ask for less than half.
"""

from __future__ import annotations

from yolowatch.decide.combination import Combination
from yolowatch.decide.forecast import Laws
from yolowatch.decide.ladder import Candidate, fits
from yolowatch.model.plan import Policy
from yolowatch.model.verdict import Verdict, Where

_HALF = 0.5


def without_margin(
    candidates: tuple[Candidate, ...], limit: float | None, failed: int, policy: Policy
) -> tuple[Candidate | None, str]:
    """The smallest batch, if it would fit were nothing kept free."""
    small = [each for each in candidates if each.objection is None and each.batch < failed]
    if small and limit is not None and fits(small[-1], limit / (1.0 - policy.margin_ratio)):
        return small[-1], "no batch is predicted to leave the margin, but the smallest may fit"
    return None, ""


def choose(
    candidates: tuple[Candidate, ...],
    laws: Laws,
    limit: float | None,
    failed: int,
    verdict: Verdict,
    policy: Policy,
    levers: Combination,
    least: int,
) -> tuple[Candidate | None, str]:
    """(the largest candidate that may be taken with these levers, why it); None when none may.

    `least` is the smallest batch there is, one image in each rank.
    """
    allowed = [each for each in candidates if each.objection is None]
    predicted = limit is not None and any(each.peaks.training is not None for each in allowed)
    # The law of a training step says too little of what failed elsewhere.
    direct = verdict.where in (Where.STEP, Where.MULTI_SCALE_PEAK)
    largest = failed if levers.uses else failed - 1
    sure = predicted and direct and not laws.weak
    bound = largest if sure else max(failed // 2**laws.halvings, least)
    what = "each device's share of the batch" if levers.edits.more_gpus else "the batch"
    if levers.uses and (failed <= least or "batch" not in policy.levers):
        # There is no smaller batch to be had: a lever is all that is left.
        if direct or levers.answers(verdict.where):
            bound = failed
        if not sure and levers.pixels < 1.0:
            bound, what = (failed if levers.pixels <= _HALF else 0), "the number of pixels"
    small = [each for each in allowed if each.batch <= bound]
    if limit is None or not predicted:
        if not small:
            return None, ""
        return small[0], f"too little is known to predict a peak, so {what} is halved"
    for each in small:
        if fits(each, limit):
            if bound == largest:
                return each, "it is the largest batch that is predicted to fit"
            part = "half" if laws.halvings == 1 else "a quarter"
            return each, f"the prediction is only a bound, so at most {part} is taken"
    if laws.weak and small:
        return small[-1], "no batch is predicted to fit, but the prediction is only a bound"
    return None, ""
