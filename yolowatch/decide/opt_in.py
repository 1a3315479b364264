"""The levers that only a policy file can ask for: their settings, and why one has none.

They are weighed after the others, each setting alone and then all of them together, because they
change what is learnt, or where, more than those do. What each saves rests on what is stated beside
it; where that is not known, nothing is promised.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import accumulate

from yolowatch.decide import spreading
from yolowatch.decide.combination import Combination
from yolowatch.model.opt_in import OPT_IN
from yolowatch.model.plan import Edits, LeverUse, Rejected
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import RunSpec
from yolowatch.trainers.families import family

_STATE_SAVED = 0.7  # of the optimizer's state: a quarter of each large tensor stays, small ones do
# Of what grows with the batch. A frozen backbone left 0.42 to 0.51 of five small models' peaks.
_FROZEN = 0.65
# The same with a quarter of the channels pruned, which left 0.74 to 0.86.
_PRUNED = 0.9
_PART_PRUNED = 0.25
_SMALLEST = 0.5  # of the user's image size, below which no size is weighed
EIGHT_BIT = ("SGD", "Adam", "AdamW", "RMSprop")
"""The optimizers that have an 8-bit form."""


def sets(
    spec: RunSpec,
    earlier: Edits,
    allowed: Collection[str],
    ranks: int = 1,
    devices: spreading.Devices = spreading.UNREAD,
) -> Iterator[Combination]:
    """Each setting of a named lever alone, then all levers together; `spec` is the failed one's,
    of which `ranks` share each batch; `devices` are those that it may have.
    """
    sizes = list(_image_sizes(spec, earlier, allowed))
    places = list(_one_gpu(spec, earlier, ranks, allowed))
    if spreading.NAME in allowed:
        places += spreading.sets(spec, earlier, ranks, devices)
    others = [
        *_eight_bit(spec, earlier, allowed),
        *_frozen(spec, earlier, allowed),
        *_pruned(spec, earlier, allowed),
    ]
    yield from (*places, *others, *sizes)
    together = list(accumulate([*places[-1:], *others], Combination.beside))
    yield from together[1:]
    if together:
        yield from (together[-1].beside(each) for each in sizes)


def rejected(
    spec: RunSpec,
    earlier: Edits,
    asked: Collection[str],
    ranks: int = 1,
    devices: spreading.Devices = spreading.UNREAD,
) -> tuple[Rejected, ...]:
    """A sentence for each named lever that this run cannot have, whatever would fit."""
    found = []
    for lever in (each for each in OPT_IN if each in asked):
        reason = _obstacle(lever, spec, earlier)
        if reason is None:
            reason = _obstacle_of_place(lever, spec, earlier, ranks, devices)
        if reason is not None:
            found.append(Rejected(lever, reason))
    return tuple(found)


def _obstacle_of_place(
    lever: str, spec: RunSpec, earlier: Edits, ranks: int, devices: spreading.Devices
) -> str | None:
    """Why a lever that moves a training to other devices is not to be had, or None."""
    if lever == "one gpu" and not earlier.one_gpu and ranks == 1:
        return "the training is on one device already"
    if lever == "one gpu" and earlier.more_gpus:
        return "an earlier plan has spread the training over several devices"
    if lever == spreading.NAME:
        return spreading.obstacle(spec, earlier, ranks, devices)
    return None


def _obstacle(lever: str, spec: RunSpec, earlier: Edits) -> str | None:
    """Why a lever is not to be had, whatever the devices; or None."""
    trainer = family(spec.trainer)
    if trainer is not None and lever in trainer.REFUSED:
        return trainer.REFUSED[lever]
    if lever == "freeze" and not earlier.freeze:
        if not spec.freezable:
            return "the model does not say which of its layers are its backbone"
        if (spec.frozen or 0) >= spec.freezable:
            return "the whole backbone is frozen already"
    if lever == "image size" and not (spec.image_size and spec.stride):
        return "the image size is not known"
    if lever == "pruning" and not earlier.pruning:
        return None if spec.prunable else "the package torch-pruning is not in the trainer's Python"
    if lever == "8-bit optimizer" and not earlier.optimizer_bits:
        if not spec.eight_bit:
            return "the package bitsandbytes is not in the trainer's Python"
        if spec.optimizer not in EIGHT_BIT:
            return f"there is no 8-bit form of the optimizer {spec.optimizer or 'of this run'}"
        if not spec.optimizer_state_bytes:
            return "how large the optimizer's state is, is not known, so nothing can be promised"
    return None


def _available(lever: str, spec: RunSpec, earlier: Edits, allowed: Collection[str]) -> bool:
    return lever in allowed and _obstacle(lever, spec, earlier) is None


def _one_gpu(
    spec: RunSpec, earlier: Edits, ranks: int, allowed: Collection[str]
) -> Iterator[Combination]:
    if "one gpu" not in allowed or ranks == 1 or earlier.more_gpus:
        return
    use = LeverUse(
        name="one gpu",
        cost=OPT_IN["one gpu"],
        before=f"each batch shared by {ranks} devices",
        after="one device alone",
        why="the gradients are not kept once more for the other devices",
    )
    # Ranks that average their gradients have a copy of each to send.
    saved = spec.parameter_bytes or 0
    yield Combination((use,), Edits(one_gpu=ranks), saved_bytes=saved, ranks=1)


def _frozen(spec: RunSpec, earlier: Edits, allowed: Collection[str]) -> Iterator[Combination]:
    layers = spec.freezable
    if earlier.freeze or layers is None or not _available("freeze", spec, earlier, allowed):
        return
    use = LeverUse(
        name="freeze",
        cost=OPT_IN["freeze"],
        before="all layers trained" if not spec.frozen else f"{spec.frozen} layers frozen",
        after=f"the first {layers} layers frozen",
        why="what frozen layers compute is not kept for gradients",
    )
    yield Combination((use,), Edits(freeze=layers), _FROZEN)


def _image_sizes(spec: RunSpec, earlier: Edits, allowed: Collection[str]) -> Iterator[Combination]:
    """Every smaller size that is a multiple of the stride, the largest first."""
    size, stride, largest = spec.image_size, spec.stride, spec.image_size_max
    if size is None or not stride or not _available("image size", spec, earlier, allowed):
        return
    users = earlier.image_size_before or size
    smallest = max(2 * stride, users * _SMALLEST)
    for side in range((size - 1) // stride * stride, 0, -stride):
        if side < smallest:
            return
        use = LeverUse(
            name="image size",
            cost=OPT_IN["image size"],
            before=f"images of {size} px",
            after=f"images of {side} px",
            why="activations grow with the square of the image size",
        )
        edits = Edits(image_size=side, image_size_before=users)
        peak_side = -(-(largest or size) * side // size)
        yield Combination((use,), edits, 1.0, -(-peak_side // stride) * stride, (side / size) ** 2)


def _pruned(spec: RunSpec, earlier: Edits, allowed: Collection[str]) -> Iterator[Combination]:
    if earlier.pruning or not _available("pruning", spec, earlier, allowed):
        return
    use = LeverUse(
        name="pruning",
        cost=OPT_IN["pruning"],
        before="the whole model",
        after=f"a model with {_PART_PRUNED:.0%} of the channels taken away where that can be done",
        why="fewer channels have fewer activations",
    )
    yield Combination((use,), Edits(pruning=_PART_PRUNED), _PRUNED)


def _eight_bit(spec: RunSpec, earlier: Edits, allowed: Collection[str]) -> Iterator[Combination]:
    if earlier.optimizer_bits or not _available("8-bit optimizer", spec, earlier, allowed):
        return
    saved = round((spec.optimizer_state_bytes or 0) * _STATE_SAVED)
    use = LeverUse(
        name="8-bit optimizer",
        cost=OPT_IN["8-bit optimizer"],
        before=f"{spec.optimizer} with its state in 32 bits",
        after=f"{spec.optimizer} with its state in 8 bits",
        why=f"about {bytes_text(saved)} of state are saved, whatever the batch",
    )
    yield Combination((use,), Edits(optimizer_bits=8), saved_bytes=saved)
