"""A set of levers with what it leaves of the memory: what the planner weighs against each batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from yolowatch.decide.forecast import Laws
from yolowatch.model.opt_in import OPT_IN
from yolowatch.model.plan import Cost, Edits, LeverUse
from yolowatch.model.verdict import Where

_UNTOUCHED = Edits()


@dataclass(frozen=True)
class Combination:
    """A set of levers: `activations` is the part of the memory per pixel that they leave.

    `largest_side` is the largest image side with them, in pixels; None is as it is. `pixels` is the
    part of each image's pixels that they leave, `saved_bytes` what they save whatever the batch,
    which is less than nothing where they cost that.
    `ranks` is how many processes share a batch with them; None is as it is.
    """

    uses: tuple[LeverUse, ...] = ()
    edits: Edits = _UNTOUCHED
    activations: float = 1.0
    largest_side: int | None = None
    pixels: float = 1.0
    saved_bytes: int = 0
    ranks: int | None = None

    def applied(self, laws: Laws) -> Laws:
        """The laws with these levers in force."""
        if laws.training is None:
            return laws
        slope = laws.training.per_pixel_bytes * self.activations
        fixed = max(laws.training.fixed_bytes - self.saved_bytes, 0.0)
        training = replace(laws.training, per_pixel_bytes=slope, fixed_bytes=fixed)
        return replace(laws, training=training)

    def answers(self, where: Where) -> bool:
        """Whether these levers are an answer to a failure that was not in forward or backward."""
        if where in (Where.FIRST_OPTIMIZER_STEP, Where.OPTIMIZER):
            return self.saved_bytes > 0
        return where is Where.VALIDATION and self.pixels < 1.0

    def beside(self, other: Combination) -> Combination:
        """Both sets together."""
        return Combination(
            self.uses + other.uses,
            other.edits.over(self.edits),
            self.activations * other.activations,
            other.largest_side if self.largest_side is None else self.largest_side,
            self.pixels * other.pixels,
            self.saved_bytes + other.saved_bytes,
            other.ranks if self.ranks is None else self.ranks,
        )

    @property
    def alters_unasked(self) -> bool:
        """Whether any of these levers alters what is learnt and needs not be named."""
        return any(u.cost is Cost.ALTERS_RESULT and u.name not in OPT_IN for u in self.uses)

    @property
    def alters(self) -> bool:
        """Whether any of these levers alters what is learnt."""
        return any(use.cost is Cost.ALTERS_RESULT for use in self.uses)

    @property
    def title(self) -> str:
        """The levers' names, for a sentence; empty for none."""
        return " and ".join(use.name for use in self.uses)


NOTHING = Combination()
