"""A narrowed range of image sizes is widened again, one stride at a time, when headroom is proven.

Proven means: enough batches were trained in the present range, its largest images were among them,
the most that was ever in use left the margin, and a law that is more than a bound predicts that the
next larger images leave it too. It never becomes wider than the user's own range, and never reaches
a batch that has failed already. Whatever is not known leaves the range as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from yolowatch.decide.forecast import fit
from yolowatch.model.plan import Plan, Policy
from yolowatch.model.run import RunSpec, RunState


@dataclass(frozen=True)
class Wider:
    """The next range: sizes up to `side` pixels, which is `ratio` over the image size."""

    ratio: float
    side: int
    predicted_peak_bytes: int


def wider(
    *,
    user: RunSpec,
    plan: Plan,
    state: RunState,
    batches: int,
    failed_pixels: int | None,
    policy: Policy,
) -> Wider | None:
    """The range to order next, or None for the one that is.

    `plan` started the attempt that says `state`, and `batches` of it were trained in the present
    range. `failed_pixels` is the smallest batch x height x width at which a step with the same
    precision and checkpointing has failed; None where none has.
    """
    if policy.mode != "auto" or "multi-scale" not in policy.levers:
        return None
    if plan.edits.multi_scale is None or batches < policy.widen_after_batches:
        return None
    side, ratio = _next(user, state.spec)
    batch = state.spec.batch if state.spec is not None else None
    capacities = (plan.capacity_bytes, state.memory.capacity_bytes)
    highest = state.memory.peak_bytes
    if side is None or ratio is None or not batch or highest is None or None in capacities:
        return None
    limit = min(each for each in capacities if each is not None) * (1.0 - policy.margin_ratio)
    pixels = batch * side * side
    if highest > limit or not _largest_was_seen(state, batch):
        return None
    if failed_pixels is not None and pixels >= failed_pixels:
        return None
    laws = fit(state)
    if laws.training is None or laws.weak:
        return None
    predicted = max(laws.training.peak_bytes(pixels), highest)
    return Wider(ratio, side, predicted) if predicted <= limit else None


def _next(user: RunSpec, spec: RunSpec | None) -> tuple[int | None, float | None]:
    """(the next larger side, its ratio); None where there is none or too little is known."""
    if spec is None or spec.multi_scale is None or not user.multi_scale:
        return None, None
    size, largest, stride, widest = (
        spec.image_size,
        spec.image_size_max,
        spec.stride,
        user.image_size_max,
    )
    if not size or not largest or not stride or widest is None or size != user.image_size:
        return None, None
    side = largest + stride
    if side > widest or spec.multi_scale >= user.multi_scale:
        return None, None
    if side == widest:
        return side, user.multi_scale
    return side, min(round((side - size) / size, 6), user.multi_scale)


def _largest_was_seen(state: RunState, batch: int) -> bool:
    """Whether a whole batch of the largest images of the present range was measured."""
    largest = state.spec.image_size_max if state.spec is not None else None
    return largest is not None and any(
        each.phase == "backward" and each.batch >= batch and max(each.height, each.width) >= largest
        for each in state.footprints
    )
