"""The levers that cost the science nothing: weighed before all others, each for one cause alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from yolowatch.decide.forecast import Laws
from yolowatch.decide.ladder import validation_image_pixels
from yolowatch.decide.texts import parse_capacity
from yolowatch.model.plan import COSTS, Edits, LeverUse
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import RunState
from yolowatch.model.verdict import Kind, Verdict, Where


@dataclass(frozen=True)
class FreeLever:
    """One lever with its edits and, where it can be predicted, the peak with it."""

    use: LeverUse
    edits: Edits
    peak_bytes: int | None = None


def free_lever(
    state: RunState,
    verdict: Verdict,
    laws: Laws,
    limit_bytes: float | None,
    earlier: Edits,
    allowed: Collection[str],
) -> FreeLever | None:
    """The free lever that answers the cause of this failure, if there is one."""
    if verdict.where is Where.VALIDATION and "validation batch" in allowed:
        return _smaller_validation(state, laws, limit_bytes)
    in_pieces = verdict.kind is Kind.FRAGMENTATION
    if in_pieces and "allocator" in allowed and not earlier.expandable_segments:
        return _expandable_segments(state)
    return None


def _smaller_validation(state: RunState, laws: Laws, limit_bytes: float | None) -> FreeLever | None:
    """The largest validation batch that is predicted to fit; at most half of the one that failed.

    Where nothing can be predicted a quarter is taken: it costs nothing but time. None where the
    one that failed is not known or is a single image.
    """
    failed, pixels = _failed_validation_batch(state), validation_image_pixels(state)
    if failed is None or failed < 2:
        return None
    smaller = [batch for batch in range(failed // 2, 0, -1) if failed % batch == 0]
    if laws.validation is not None and pixels is not None and limit_bytes is not None:
        for batch in smaller:
            need = laws.validation.peak_bytes(batch * pixels)
            if need <= limit_bytes:
                return _validation(failed, batch, need, "it is the largest predicted to fit")
    batch = next((each for each in smaller if each <= failed // 4), smaller[-1])
    return _validation(failed, batch, None, "what it takes cannot be predicted")


def _validation(failed: int, batch: int, peak_bytes: int | None, why: str) -> FreeLever:
    use = LeverUse(
        name="validation batch",
        cost=COSTS["validation batch"],
        before=f"validation batch {failed}",
        after=f"validation batch {batch}",
        why="validation failed, and its results do not depend on how many images it takes at "
        f"once; {why}",
    )
    return FreeLever(use, Edits(validation_batch=batch), peak_bytes)


def _failed_validation_batch(state: RunState) -> int | None:
    """The nominal validation batch that failed: the last one of the set may be a smaller rest."""
    if state.spec is None:
        return None
    words = state.last_words
    seen = words.place.batch if words is not None else None
    return state.spec.validation_batch or seen


def _expandable_segments(state: RunState) -> FreeLever | None:
    """Where what the allocator held in pieces would have been enough in one piece."""
    words = state.last_words
    if words is None:
        return None
    figures = parse_capacity(words.text)
    requested = figures.requested if figures.requested is not None else words.requested_bytes
    held = figures.reserved_unallocated
    if held is None or requested is None:
        return None
    use = LeverUse(
        name="allocator",
        cost=COSTS["allocator"],
        before="segments of fixed size",
        after="expandable segments",
        why=f"{bytes_text(held)} were held in pieces and {bytes_text(requested)} were asked for: "
        "the memory was there, but not in one piece",
    )
    return FreeLever(use, Edits(expandable_segments=True))
