"""Small differences between variants that took turns: medians, and how sure they are.

What is compared stood beside each other in one round, so that what slows the whole machine down
for a while falls out. The intervals come from a bootstrap over generations of processes, over the
rounds of each and over the blocks of these.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

RESAMPLES = 2000
Round = Mapping[str, Sequence[float]]
"""The blocks of each variant in one round."""
Generations = Sequence[Sequence[Round]]
"""The rounds of each generation of processes."""


@dataclass(frozen=True)
class Estimate:
    """A median with its 95 % interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return {key: round(value, 6) for key, value in asdict(self).items()}


def difference(generations: Generations, of: str, against: Sequence[str]) -> Estimate:
    """By how much a block of `of` is longer than those of `against` beside it."""
    return _bootstrap(generations, lambda here: median(here[of]) - _reference(here, against))


def ratio(generations: Generations, of: str, against: Sequence[str]) -> Estimate:
    """How long a block of `of` is, divided by those of `against` beside it."""
    return _bootstrap(generations, lambda here: median(here[of]) / _reference(here, against))


def _reference(here: Round, against: Sequence[str]) -> float:
    return sum(median(here[name]) for name in against) / len(against)


def _bootstrap(generations: Generations, figure: Callable[[Round], float]) -> Estimate:
    rng = random.Random(0)
    found = []
    for _ in range(RESAMPLES):
        again = rng.choices(generations, k=len(generations))
        chosen = [here for rounds in again for here in rng.choices(rounds, k=len(rounds))]
        found.append(median(figure(_resampled(here, rng)) for here in chosen))
    found.sort()
    low, high = found[int(0.025 * RESAMPLES)], found[int(0.975 * RESAMPLES) - 1]
    return Estimate(median(figure(here) for rounds in generations for here in rounds), low, high)


def _resampled(here: Round, rng: random.Random) -> Round:
    return {name: rng.choices(blocks, k=len(blocks)) for name, blocks in here.items()}
