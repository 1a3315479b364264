"""What is done about a lack of memory that is foreseen, before anything dies: the cheapest order.

Pure, like all that decides. Where the likeliest peak is above the capacity, the range of image
sizes is narrowed to the widest that fits, or the validation batch made the largest that fits: its
point leaves the margin and its bound fits too, where there is such a one. Where no order helps and
the failure is nearly certain even so, the training leaves at the end of its epoch, to be started
again otherwise. Between the capacity, which starts it, and the margin and the bound, which end it,
lies the hysteresis. An outlook that does not know its point starts nothing, and one that does not
know its bound ends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from yolowatch.model.forecast import Outlook
from yolowatch.model.plan import COSTS, Cost, Edits, LeverUse, Policy
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import Place, RunSpec, RunState
from yolowatch.model.verdict import Kind, Verdict, Where

MULTI_SCALE, VALIDATION_BATCH = "multi_scale", "validation_batch"
RELEASE, LEAVE = "release", "leave"
"""The names of the orders."""
LEAVE_LEVER = "planned restart"
RELEASED_LEVER = "released cache"

Looks = Callable[[RunSpec], Sequence[Outlook]]
"""What the run would meet if it were described like this."""

_LEAVE_AFTER_BATCHES = 50
_VALIDATION = "validation"
_RELEASED = LeverUse(
    RELEASED_LEVER,
    Cost.FREE,
    "cached memory kept",
    "cached memory given back between the phases",
    "what one phase has cached the next may not use",
)


@dataclass(frozen=True)
class Preventive:
    """One order: `edits` are what it changes, `bound_bytes` what the peak is at most with it."""

    order: str
    value: float
    edits: Edits
    use: LeverUse
    outlook: Outlook
    bound_bytes: int | None = None


def prevent(state: RunState, looks: Looks, policy: Policy) -> Preventive | None:
    """What to order, or to recommend, of a training that runs; None for nothing."""
    spec = state.spec
    if not policy.prevention or policy.mode == "observe" or state.ranks != 1:
        return None  # of several ranks one alone must not be changed
    if spec is None or spec.leaving or state.left is not None or state.last_words is not None:
        return None
    # The next batch may be of the largest size; a validation comes at the end of an epoch.
    for outlook in sorted(looks(spec), key=lambda each: each.phase.startswith(_VALIDATION)):
        if threatens(outlook) or (policy.guarded_start and _may_not_fit(outlook)):
            found = _order(spec, state.place, outlook, looks, policy)
            if found is not None:
                return found
    return None


def threatens(outlook: Outlook) -> bool:
    """Whether a failure is likelier than none."""
    point, capacity = outlook.point_bytes, outlook.capacity_bytes
    return point is not None and capacity is not None and point > capacity


def _may_not_fit(outlook: Outlook) -> bool:
    """Whether a validation is not sure to fit: a smaller batch of it costs nothing but time."""
    bound, capacity = outlook.bound_bytes, outlook.capacity_bytes
    if bound is None or capacity is None or outlook.point_bytes is None:
        return False
    return outlook.phase.startswith(_VALIDATION) and bound > capacity


def _order(
    spec: RunSpec, place: Place, outlook: Outlook, looks: Looks, policy: Policy
) -> Preventive | None:
    if policy.release_cache and spec.releasing is False:
        return Preventive(RELEASE, 1.0, Edits(), _RELEASED, outlook)
    validation = outlook.phase.startswith(_VALIDATION)
    changes = list(_smaller_validations(spec, policy) if validation else _narrower(spec, policy))
    looked = [(each, _of_its_kind(outlook, looks(each[2]))) for each in changes]
    for surely in (True, False):
        for (order, value, _changed, edits, use), met in looked:
            if _fits(outlook, met, policy, surely=surely):
                bound = max(each.bound_bytes or 0 for each in met)
                return Preventive(order, value, edits, use, outlook, bound)
    if place.epoch is None or spec.epochs is None or place.epoch + 1 >= spec.epochs:
        return None  # there is no later epoch, or none is known
    if place.step is None or place.step < _LEAVE_AFTER_BATCHES:
        return None  # a restart is worth more than a first guess
    left = looked[-1][1] if looked else (outlook,)
    likely = max((each.probability or 0.0 for each in left), default=0.0)
    if validation or policy.leave_probability >= 1.0 or likely < policy.leave_probability:
        return None
    use = LeverUse(
        LEAVE_LEVER,
        Cost.FREE,
        "the training as it is",
        "the training as it is planned anew",
        "nothing that can be changed while it runs makes it fit",
    )
    return Preventive(LEAVE, 1.0, Edits(), use, outlook)


def _of_its_kind(outlook: Outlook, looked: Sequence[Outlook]) -> tuple[Outlook, ...]:
    """Those of the training, or those of the validation."""
    kind = outlook.phase.startswith(_VALIDATION)
    return tuple(each for each in looked if each.phase.startswith(_VALIDATION) == kind)


def _fits(outlook: Outlook, met: Sequence[Outlook], policy: Policy, *, surely: bool) -> bool:
    """Whether all of these are likely to leave the margin and, `surely`, their bounds fit too."""
    capacity = outlook.capacity_bytes
    if capacity is None or not met:
        return False
    points = [each.point_bytes for each in met]
    bounds = [each.bound_bytes for each in met]
    likely = all(p is not None and p <= capacity * (1.0 - policy.margin_ratio) for p in points)
    known = all(bound is not None for bound in bounds)
    return likely and known and (not surely or max(b or 0 for b in bounds) <= capacity)


_Change = tuple[str, float, RunSpec, Edits, LeverUse]


def _narrower(spec: RunSpec, policy: Policy) -> Iterator[_Change]:
    """Every narrower range of sizes, the widest first."""
    size, largest, stride = spec.image_size, spec.image_size_max, spec.stride
    if "multi-scale" not in policy.levers or not spec.multi_scale:
        return
    if size is None or largest is None or not stride:
        return
    for side in range(largest - stride, size - 1, -stride):
        ratio = round((side - size) / size, 6)
        use = LeverUse(
            "multi-scale",
            COSTS["multi-scale"],
            f"sizes up to {largest} px",
            f"sizes up to {side} px" if ratio else f"always {size} px",
            "the largest images set the peak",
        )
        changed = replace(spec, multi_scale=ratio, image_size_max=side)
        yield MULTI_SCALE, ratio, changed, Edits(multi_scale=ratio), use


def _smaller_validations(spec: RunSpec, policy: Policy) -> Iterator[_Change]:
    """Every smaller validation batch that divides the present one, the largest first."""
    present = spec.validation_batch
    if "validation batch" not in policy.levers or not present:
        return
    for batch in range(present // 2, 0, -1):
        if present % batch:
            continue
        use = LeverUse(
            "validation batch",
            COSTS["validation batch"],
            f"validation batch {present}",
            f"validation batch {batch}",
            "what validation finds stays the same but for rounding",
        )
        changed = replace(spec, validation_batch=batch)
        yield VALIDATION_BATCH, float(batch), changed, Edits(validation_batch=batch), use


def in_force(spec: RunSpec | None, order: str, value: float) -> bool:
    """Whether the trainer itself tells of what was ordered."""
    if spec is None:
        return False
    if order in (LEAVE, RELEASE):
        return (spec.leaving if order == LEAVE else spec.releasing) is True
    told = spec.multi_scale if order == MULTI_SCALE else spec.validation_batch
    return told is not None and abs(told - value) <= 1e-6


def foreseen(state: RunState, outlook: Outlook | None = None) -> Verdict:
    """The verdict on a training that has left before a failure, or on one that goes on."""
    capacity = outlook.capacity_bytes if outlook is not None else state.memory.capacity_bytes
    validation = outlook is not None and outlook.phase.startswith(_VALIDATION)
    if outlook is None:
        sentence = "It ended as ordered, because memory was foreseen to run out."
    else:
        sentence = f"Memory is foreseen to run out in {outlook.phase}"
        if outlook.point_bytes is not None and capacity is not None:
            sentence += f": {bytes_text(outlook.point_bytes)} of {bytes_text(capacity)}"
        sentence += "."
    return Verdict(
        Kind.FORESEEN,
        sentence,
        Where.VALIDATION if validation else Where.STEP,
        evidence(outlook) if outlook is not None else (),
        capacity,
    )


def evidence(outlook: Outlook) -> tuple[str, ...]:
    """What an outlook says, in short facts."""
    figures = {
        "forecast": outlook.point_bytes,
        "at most, in 99 of 100 cases,": outlook.bound_bytes,
        "capacity": outlook.capacity_bytes,
    }
    facts = [f"{name} {bytes_text(n)}" for name, n in figures.items() if n is not None]
    if outlook.probability is not None:
        facts.append(f"probability of a failure {outlook.probability:.2f}")
    return tuple(facts)
