"""What a training would meet if it were described otherwise: its outlook for another spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from yolowatch.decide.outlook import foresee
from yolowatch.model.forecast import Lesson, Outlook
from yolowatch.model.run import Footprint, RunSpec, RunState

_BATCHES = 2
_REACH = 0.2  # of the pixels of the largest batch


def looks(
    state: RunState, lesson: Lesson | None, most_boxes: int | None, spec: RunSpec
) -> Sequence[Outlook]:
    """The outlooks of the run in the state `state`, were it described by `spec`.

    What was larger than `spec` allows does not come again: it only counts where nothing else does.
    That what is in use between batches grows with every size that was not seen yet is a guess, and
    nothing is done about a guess: without a smallest size it is not made.
    """
    if lesson is None and not _is_measured(state, spec):
        return ()
    if lesson is not None and not state.footprints:
        state = replace(state, footprints=_begun(state))
    kept = tuple(each for each in state.footprints if _may_come(each, spec))
    if not any(each.phase == "backward" for each in kept):
        kept = state.footprints
    changed = replace(state, spec=replace(spec, image_size_min=None), footprints=kept)
    return foresee(changed, lesson=lesson, most_boxes=most_boxes).outlooks


def _is_measured(state: RunState, spec: RunSpec) -> bool:
    """Whether what was measured reaches far enough; the first batch of all prepares much besides,
    and a law from the smallest sizes says little of the largest.
    """
    batches = [each for each in state.footprints if each.phase == "backward"]
    reached = max((each.pixels for each in batches if each.exact), default=0)
    side = spec.image_size_max or spec.image_size
    if not spec.batch or side is None or len(batches) < _BATCHES:
        return False
    return reached >= _REACH * spec.batch * side * side


def _begun(state: RunState) -> tuple[Footprint, ...]:
    """What is in use before the first batch: with a law of an earlier run that says something."""
    used = state.memory.allocated_bytes
    if used is None:
        return ()
    return (Footprint("forward", 0, 0, 0, None, used, used, exact=False),)


def _may_come(seen: Footprint, spec: RunSpec) -> bool:
    if seen.phase == "validation":
        return spec.validation_batch is None or seen.batch <= spec.validation_batch
    largest = spec.image_size_max
    return largest is None or max(seen.height, seen.width) <= largest
