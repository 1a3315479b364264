"""The search through the sets of levers: with which of them the largest batch fits.

The first set with a batch that fits is taken, with one exception. BatchNorm learns little from a
few images at a time (bench/results/science: of single images the run was lost), so where only so
few are left in each process, a set that costs time and alters nothing may keep more of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from yolowatch.decide import spreading
from yolowatch.decide.choosing import choose, without_margin
from yolowatch.decide.combination import NOTHING, Combination
from yolowatch.decide.combining import combinations
from yolowatch.decide.forecast import Laws
from yolowatch.decide.ladder import Candidate, Recipe, rejected, smaller_batches
from yolowatch.model.plan import Edits, Policy, Rejected
from yolowatch.model.run import RunSpec, RunState
from yolowatch.model.verdict import Verdict

FEW_IMAGES = 4  # in each process: with fewer, BatchNorm is worth a slower step


@dataclass(frozen=True)
class Failure:
    """What is weighed: the run, its failed attempt and what is known of its memory.

    `limit` is in bytes, None where it is unknown; `batch` is the one that failed; `unsure` says
    that a cheaper answer may only be unknown; `devices` are those that it may have.
    """

    user: RunSpec
    recipe: Recipe
    earlier: Edits
    state: RunState
    verdict: Verdict
    laws: Laws
    limit: float | None
    batch: int
    unsure: bool
    devices: spreading.Devices


@dataclass(frozen=True)
class Found:
    """A set of levers with the batch that is taken with it, of all that were weighed."""

    levers: Combination
    ranks: int
    candidates: tuple[Candidate, ...]
    chosen: Candidate
    reason: str

    @property
    def images(self) -> int:
        """How many BatchNorm sees at once."""
        return self.chosen.batch // self.ranks


@dataclass(frozen=True)
class Weighed:
    """What was found, what was weighed before it, and the batches without any lever."""

    found: Found | None
    rejected: tuple[Rejected, ...]
    alone: tuple[Candidate, ...]


def weigh(failure: Failure, policy: Policy, allowed: frozenset[str]) -> Weighed:
    """The cheapest set of levers with the largest batch that is predicted to fit."""
    state, limit = failure.state, failure.limit
    before = state.spec if state.spec is not None else failure.user
    weighed: list[Rejected] = []
    alone: tuple[Candidate, ...] = ()
    found: Found | None = None
    for levers in combinations(before, failure.earlier, allowed, state.ranks, failure.devices):
        if found is not None and levers.alters:
            break
        if levers.alters_unasked and (failure.laws.weak or failure.unsure):
            continue
        ranks = levers.ranks or state.ranks
        # Each device has what it had, or gets less, and the batch is no larger than it was.
        most = min(failure.batch // state.ranks * ranks, failure.batch)
        candidates = _candidates(failure, levers, ranks, most, allowed)
        if not levers.uses:
            alone = candidates
        laws = levers.applied(failure.laws)
        chosen, reason = choose(
            candidates, laws, limit, most, failure.verdict, policy, levers, ranks
        )
        if chosen is not None and (found is None or _keeps_more(chosen, ranks, found)):
            if found is not None:
                few = "so few images at once are too few for BatchNorm to learn from"
                objection = Rejected(f"Batch {found.chosen.batch}", few)
                weighed.append(objection)
            found = Found(levers, ranks, candidates, chosen, reason)
        elif found is None:
            weighed += rejected(candidates, limit, levers.title)
        if found is not None and found.images >= FEW_IMAGES:
            break
    if found is None:
        chosen, reason = without_margin(alone, limit, failure.batch, policy)
        if chosen is not None:
            found = Found(NOTHING, state.ranks, alone, chosen, reason)
    return Weighed(found, tuple(weighed), alone)


def _keeps_more(chosen: Candidate, ranks: int, found: Found) -> bool:
    """Whether it is a larger batch, of which BatchNorm sees more at once."""
    return chosen.batch > found.chosen.batch and chosen.batch // ranks > found.images


def _candidates(
    failure: Failure, levers: Combination, ranks: int, most: int, allowed: frozenset[str]
) -> tuple[Candidate, ...]:
    """The batches that may be taken with these levers, the largest first."""
    candidates = smaller_batches(
        failure.user,
        failure.recipe,
        failure.state,
        levers.applied(failure.laws),
        most + 1 if levers.uses else most,
        levers.largest_side,
        levers.pixels,
        ranks,
    )
    # One device takes what fits there, whether the policy names the batch or not.
    alone_there = (failure.earlier.one_gpu or levers.edits.one_gpu) is not None
    if "batch" in allowed or alone_there:
        return candidates
    return tuple(each for each in candidates if each.batch == failure.batch)
