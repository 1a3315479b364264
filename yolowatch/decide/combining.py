"""The levers beside the batch, and the sets of them in the order in which they are weighed.

The cheapest set that is predicted to fit is taken, by what it costs the science: first the batch
alone, whose effective size and weight decay are kept; then activation checkpointing, which costs
time; then what alters the result, a narrower range of sizes before another precision. Every set is
weighed with every batch. A lever that is in force already is in no set: it is kept anyway. Levers
that must be named (`opt_in`) come last of those that cost as much.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from yolowatch.decide import opt_in, spreading
from yolowatch.decide.combination import NOTHING, Combination
from yolowatch.model.plan import COSTS, Edits, LeverUse
from yolowatch.model.run import RunSpec

# What is left of the memory that grows with the batch. Checkpointing left 0.50 to 0.63 of three
# small models' peaks, mixed precision halves the activations but not what is kept in full.
_CHECKPOINTED = 0.65
_MIXED = 0.65


def combinations(
    spec: RunSpec,
    earlier: Edits,
    allowed: Collection[str],
    ranks: int = 1,
    devices: spreading.Devices = spreading.UNREAD,
) -> Iterator[Combination]:
    """All sets of levers that this run allows, the cheapest first; the first is empty.

    `spec` is the failed attempt's, `earlier` are the edits that it had been given; `allowed` names
    the levers that the policy permits and the trainer has; `ranks` share each batch; `devices` are
    those that it may have.
    """
    checkpointing = [NOTHING, *_checkpointing(spec, earlier, allowed)]
    narrower = list(_narrower(spec, allowed))
    mixed = list(_mixed_precision(spec, earlier, allowed))
    altering = [*narrower, *mixed, *(m.beside(n) for m in mixed for n in narrower)]
    named_sets = [NOTHING, *opt_in.sets(spec, earlier, allowed, ranks, devices)]
    for named in (each for each in named_sets if not each.alters):
        for checkpointed in checkpointing:
            yield checkpointed.beside(named)
    for named in named_sets:
        for altered in (NOTHING, *altering) if named.alters else altering:
            if altered.largest_side is not None and named.largest_side is not None:
                continue  # either a narrower range of sizes or smaller ones altogether
            for checkpointed in checkpointing:
                yield altered.beside(checkpointed).beside(named)


def _checkpointing(
    spec: RunSpec, earlier: Edits, allowed: Collection[str]
) -> Iterator[Combination]:
    if "checkpointing" not in allowed or earlier.checkpointing or spec.checkpointed:
        return
    if spec.checkpointable:
        use = LeverUse(
            name="checkpointing",
            cost=COSTS["checkpointing"],
            before="all activations kept",
            after=f"activations of {spec.checkpointable} blocks computed again",
            why="the gradients are the same but for rounding; it costs a forward pass more",
        )
        yield Combination((use,), Edits(checkpointing=True), _CHECKPOINTED)


def _narrower(spec: RunSpec, allowed: Collection[str]) -> Iterator[Combination]:
    """Every narrower range of sizes, the widest first, down to none."""
    size, largest, stride = spec.image_size, spec.image_size_max, spec.stride
    if "multi-scale" not in allowed or not spec.multi_scale:
        return
    if size is None or largest is None or not stride:
        return
    for side in range(largest - stride, size - 1, -stride):
        ratio = round((side - size) / size, 6)
        use = LeverUse(
            name="multi-scale",
            cost=COSTS["multi-scale"],
            before=f"sizes up to {largest} px",
            after=f"sizes up to {side} px" if ratio else f"always {size} px",
            why="the largest images set the peak",
        )
        yield Combination((use,), Edits(multi_scale=ratio), 1.0, side)


def _mixed_precision(
    spec: RunSpec, earlier: Edits, allowed: Collection[str]
) -> Iterator[Combination]:
    if "amp" not in allowed or spec.precision != "fp32" or earlier.amp:
        return
    if spec.autocast in ("bf16", "fp16"):
        use = LeverUse(
            name="amp",
            cost=COSTS["amp"],
            before="fp32",
            after=spec.autocast,
            why="activations in half precision take half the memory",
        )
        yield Combination((use,), Edits(amp=spec.autocast), _MIXED)
