"""The levers: what each changes, what it costs, and which of its settings fit.

Here the batches. The training batch is compensated: the trainer accumulates the gradients of more
and smaller batches, so that the effective batch and the effective weight decay stay exactly what
the user chose; only BatchNorm sees smaller batches. The levers beside them stand in
`combining`, those that cost nothing in `free`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from yolowatch.decide.forecast import Laws, Peaks, peak
from yolowatch.model.plan import Edits, Rejected
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import RunSpec, RunState
from yolowatch.trainers import ultralytics
from yolowatch.trainers.families import family

MAX_REJECTED = 8
_ULPS = 16  # how far from the quotient an equivalent weight decay is looked for


@dataclass(frozen=True)
class Recipe:
    """What the user chose and every remedy keeps; `effective_batch` is images an optimizer step."""

    batch: int
    nbs: int
    weight_decay: float
    effective_batch: int
    trainer: str = "ultralytics"

    @classmethod
    def of(cls, user: RunSpec) -> Recipe | None:
        """The recipe of a run, or None when a part of it is unknown or makes no sense."""
        effective = user.effective_batch
        if effective is None or effective < 1 or user.batch is None:
            return None
        if user.nbs is None or user.nbs < 1 or user.weight_decay is None:
            return None
        return cls(user.batch, user.nbs, user.weight_decay, effective, user.trainer)

    @property
    def effective_weight_decay(self) -> float:
        """What the optimizer has; scaled before a short training caps the accumulation."""
        nominal = max(round(self.nbs / self.batch), 1)
        return self.scaled(self.weight_decay, self.batch, nominal, self.nbs)

    def scaled(self, weight_decay: float, batch: int, accumulate: int, nbs: int) -> float:
        """What the trainer makes of a weight decay, bit for bit where the trainer is known."""
        arithmetic = family(self.trainer) or ultralytics
        return arithmetic.scaled_weight_decay(weight_decay, batch, accumulate, nbs)


def original(recipe: Recipe | None) -> Edits:
    """The user's own values; nothing of what is not known."""
    if recipe is None:
        return Edits()
    return Edits(recipe.batch, recipe.nbs, recipe.weight_decay)


@dataclass(frozen=True)
class Candidate:
    """A batch that divides the effective batch; `objection`: why the trainer would not keep it."""

    batch: int
    peaks: Peaks
    objection: str | None = None


def smaller_batches(
    user: RunSpec,
    recipe: Recipe,
    state: RunState,
    laws: Laws,
    below: int,
    largest_side: int | None = None,
    pixels: float = 1.0,
    ranks: int | None = None,
) -> tuple[Candidate, ...]:
    """Every divisor of the effective batch below `below`, largest first, with its peaks.

    Ranks share a batch in equal parts: only what they can divide counts, with the peaks of one.
    `largest_side` is that of the images, in pixels, where it is not the one that was seen; `pixels`
    is the part of those that every image is to have. `ranks` are to share a batch; None: as many as
    did.
    """
    effective_batch = recipe.effective_batch
    image, validation_image = _image_pixels(state), validation_image_pixels(state)
    if largest_side is not None and image is not None:
        image = min(image, largest_side**2)
    if validation_image is not None:
        validation_image = math.ceil(validation_image * pixels)
    failed_batch = (state.spec.batch if state.spec is not None else None) or below
    found, ranks = [], ranks or state.ranks
    for batch in range(min(below - 1, effective_batch), 0, -1):
        if effective_batch % batch or batch % ranks:
            continue
        peaks = Peaks(None, None)
        if image is not None:
            peaks = peak(
                laws,
                batch=batch // ranks,
                image_pixels=image,
                validation_batch=_validation_batch(
                    state, batch // ranks, failed_batch // state.ranks
                ),
                validation_image_pixels=validation_image,
            )
        objection = _objection(user, effective_batch, batch, ranks, pixels)
        found.append(Candidate(batch, peaks, objection))
    return tuple(found)


def _image_pixels(state: RunState) -> int | None:
    """Height x width of the largest image of a training batch: its peak is what has to fit."""
    spec = state.spec
    sides = [s for s in (spec.image_size_max, spec.image_size) if s] if spec is not None else []
    seen = [f.height * f.width for f in state.footprints if f.phase in ("forward", "backward")]
    if state.last_words is not None and state.last_words.place.phase != "validation":
        place = state.last_words.place
        seen.append((place.height or 0) * (place.width or 0))
    return max([*(side * side for side in sides), *seen], default=0) or None


def validation_image_pixels(state: RunState) -> int | None:
    """Height x width of the largest validation image; rectangular ones get a margin of a stride."""
    spec = state.spec
    sizes = [f.height * f.width for f in state.footprints if f.phase == "validation"]
    if spec is not None and spec.image_size:
        sizes.append(spec.image_size**2)
    if state.last_words is not None and state.last_words.place.phase == "validation":
        place = state.last_words.place
        sizes.append((place.height or 0) * (place.width or 0))
    return max(sizes, default=0) or None


def _validation_batch(state: RunState, batch: int, failed_batch: int) -> int | None:
    """The validation batch beside `batch`: as large or twice as large, unless its set is small."""
    known = state.spec.validation_batch if state.spec is not None else None
    if not known:
        seen = [f.batch for f in state.footprints if f.phase == "validation"]
        if state.last_words is not None and state.last_words.place.phase == "validation":
            seen.append(state.last_words.place.batch or 0)
        known = max(seen, default=0)
    if not known:
        return None
    return batch if known == failed_batch else min(2 * batch, known)


def _objection(
    user: RunSpec, effective_batch: int, batch: int, ranks: int, pixels: float
) -> str | None:
    """What the trainer would make of this batch that we must not let happen, or None."""
    images, epochs = user.train_images, user.epochs
    if images and epochs and math.ceil(images / batch) * epochs * batch < effective_batch:
        return "the trainer would accumulate less: the whole training is shorter"
    side, stride = user.image_size_min or user.image_size, user.stride
    side = side and round(side * math.sqrt(pixels))
    share = batch // ranks
    rest = math.ceil(images / ranks) % share if images else 0
    if images and side and stride and side < 2 * stride and (rest or share) == 1:
        return "its last batch would be one image, too small for BatchNorm at this size"
    return None


def fits(candidate: Candidate, limit_bytes: float) -> bool:
    """Whether what is known of the candidate's peaks is within `limit_bytes`."""
    highest = candidate.peaks.highest
    return candidate.objection is None and highest is not None and highest <= limit_bytes


def rejected(
    candidates: tuple[Candidate, ...], limit_bytes: float | None, levers: str = ""
) -> tuple[Rejected, ...]:
    """The candidates that were weighed and not taken, with the reason for each; at most eight.

    `levers` names what they were weighed with.
    """
    beside = f" with {levers}" if levers else ""
    found = []
    for each in candidates[:MAX_REJECTED]:
        reason = each.objection
        if reason is None and each.peaks.highest is not None and limit_bytes is not None:
            which = "validation" if each.peaks.highest != each.peaks.training else "training"
            need, limit = bytes_text(each.peaks.highest), bytes_text(limit_bytes)
            reason = f"its {which} peak is predicted at {need}, over the {limit} that may be used"
        found.append(Rejected(f"batch {each.batch}{beside}", reason or "too close to what failed"))
    return tuple(found)


def batch_edits(recipe: Recipe, batch: int) -> Edits:
    """The edits that train with `batch` and leave effective batch and weight decay as they were.

    The trainer divides by the new nbs, so the weight decay is chosen such that its arithmetic ends
    in the same bits where a number next to the exact quotient does that; otherwise it is the
    quotient, which is off by rounding only.
    """
    effective, wanted = recipe.effective_batch, recipe.effective_weight_decay
    up = down = wanted
    for _ in range(_ULPS):
        for each in (up, down):
            if recipe.scaled(each, batch, effective // batch, effective) == wanted:
                return Edits(batch, effective, each)
        up, down = math.nextafter(up, math.inf), math.nextafter(down, 0.0)
    return Edits(batch, effective, wanted)
