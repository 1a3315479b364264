"""Messages that were read together are one, and a decision finds in it what was in all of them."""

from __future__ import annotations

from typing import Any

from yolowatch.hook import wire
from yolowatch.model.fold import fold
from yolowatch.model.joining import KINDS, joined
from yolowatch.model.run import RunState


def window(step: int, **fields: Any) -> dict[str, Any]:
    return {"phase": "forward", "step": step, "seconds": 0.1, "steps": 2, **fields}


def test_a_window_of_several_is_as_long_as_they_were_and_ends_as_the_last() -> None:
    windows = [
        window(2, allocated_min_bytes=30, allocated_max_bytes=50, retries=1, peak_bytes=50),
        window(4, allocated_min_bytes=10, allocated_max_bytes=90, retries=3, peak_bytes=90),
        window(6, allocated_min_bytes=20, allocated_max_bytes=70, retries=3, peak_bytes=90),
    ]
    state = fold(RunState(0), "sample", joined(windows), 10.0, len(windows))
    (sample,) = state.samples
    assert state.messages == 3
    assert (round(sample.seconds or 0.0, 6), sample.steps) == (0.3, 6)
    assert (sample.allocated_min_bytes, sample.allocated_max_bytes) == (10, 90)
    assert (sample.place.step, sample.memory.retries, sample.memory.peak_bytes) == (6, 3, 90)


def test_what_is_unknown_is_not_zero() -> None:
    assert joined([{"step": 1}, {"step": 2}]) == {"step": 2}
    part = joined([{"steps": 3, "allocated_min_bytes": 7}, {"step": 2}])
    assert part == {"step": 2, "steps": 3, "allocated_min_bytes": 7}


def test_one_alone_is_itself() -> None:
    alone = window(1)
    assert joined([alone]) is alone


def test_footprints_are_all_there_in_their_order() -> None:
    items = [["forward", 2, 64, 64, 3, 5, number, True, 0] for number in range(5)]
    whole = joined([{"items": items[:2]}, {"items": items[2:4]}, {"items": items[4:]}])
    state = fold(RunState(0), "footprints", whole, 1.0, 3)
    assert [each.peak_bytes for each in state.footprints] == [0, 1, 2, 3, 4]
    assert state.messages == 3


def test_what_is_joined_are_kinds_of_the_wire() -> None:
    assert set(KINDS) <= set(wire.KINDS)
