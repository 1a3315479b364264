"""What is ordered about a lack of memory that is foreseen; unknown never orders anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decide.build import GIB, SPEC, state
from yolowatch.decide.prevent import (
    LEAVE,
    MULTI_SCALE,
    VALIDATION_BATCH,
    foreseen,
    in_force,
    prevent,
)
from yolowatch.model.forecast import Outlook
from yolowatch.model.plan import Policy
from yolowatch.model.run import LastWords, Memory, Place, RunSpec, RunState
from yolowatch.model.verdict import Kind, Where

POLICY = Policy()
CAPACITY = 16 * GIB
WIDE = {
    "batch": 8,
    "multi_scale": 0.5,
    "image_size": 640,
    "image_size_max": 960,
    "image_size_min": 320,
    "stride": 32,
    "validation_batch": 16,
}
PER_PIXEL = 2000.0


def running(**spec: Any) -> RunState:
    run = state(None, (), attempt=0, **{**WIDE, **spec})
    memory, place = Memory(capacity_bytes=CAPACITY), Place(epoch=3, step=60)
    return replace(run, memory=memory, place=place)


def world(
    per_pixel: float = PER_PIXEL, share: float = 0.3, spread: float = 1.05, **changes: Any
) -> Any:
    """Outlooks of a linear law; `changes` are made to each of them."""

    def looks(spec: RunSpec) -> Sequence[Outlook]:
        def outlook(phase: str, pixels: int, slope: float) -> Outlook:
            point = round(2 * GIB + slope * pixels)
            likely = 0.99 if point > CAPACITY else 0.01
            found = Outlook(phase, point, round(point * spread), likely, CAPACITY)
            return replace(found, **changes)

        side, batch = spec.image_size_max or 0, spec.validation_batch or 0
        return (
            outlook("backward", (spec.batch or 0) * side**2, per_pixel),
            outlook("validation", batch * (spec.image_size or 0) ** 2, per_pixel * share),
        )

    return looks


def test_the_widest_range_whose_bound_fits_is_ordered() -> None:
    found = prevent(running(), world(2500.0), POLICY)
    assert found is not None
    assert (found.order, found.edits.multi_scale) == (MULTI_SCALE, found.value)
    side = round(640 * (1 + found.value))
    assert found.bound_bytes is not None
    assert found.bound_bytes <= CAPACITY
    wider = 2 * GIB + 2500.0 * 8 * (side + 32) ** 2
    assert wider * 1.05 > CAPACITY or wider > CAPACITY * 0.95, "the next one would not"


def test_where_no_bound_fits_what_is_likely_to_is_ordered() -> None:
    """A first law is wide: something is narrowed all the same, before it is too late."""
    found = prevent(running(), world(2500.0, spread=2.0), POLICY)
    assert found is not None
    assert (found.order, found.value) == (MULTI_SCALE, 0.3)


def test_what_fits_is_left_alone_up_to_the_very_capacity() -> None:
    exactly = (CAPACITY - 2 * GIB) / (8 * 960**2)
    assert prevent(running(), world(exactly * 0.999), POLICY) is None
    assert prevent(running(), world(exactly * 1.001), POLICY) is not None


def test_a_validation_that_does_not_fit_gets_the_largest_batch_that_does() -> None:
    found = prevent(running(), world(1000.0, share=2.5), POLICY)
    assert found is not None
    assert (found.order, found.value) == (VALIDATION_BATCH, 8.0)
    assert found.edits.validation_batch == 8
    assert "stays the same" in found.use.why


@pytest.mark.parametrize(("probability", "order"), [(0.95, LEAVE), (0.6, None), (None, None)])
def test_where_nothing_live_helps_it_leaves_only_if_that_is_nearly_certain(
    probability: float | None, order: str | None
) -> None:
    run = running(multi_scale=0.0, image_size_max=640)
    found = prevent(run, world(6000.0, share=0.1, probability=probability), POLICY)
    assert (found.order if found is not None else None) == order


def test_it_leaves_where_even_the_image_size_is_too_large() -> None:
    found = prevent(running(), world(8000.0, share=0.1), POLICY)
    assert found is not None
    assert found.order == LEAVE
    never = replace(POLICY, leave_probability=1.0)
    assert prevent(running(), world(8000.0, share=0.1), never) is None


@pytest.mark.parametrize(
    "place", [Place(epoch=4, step=60), Place(step=60), Place(epoch=3, step=49), Place(epoch=3)]
)
def test_in_the_last_epoch_or_an_unknown_one_nobody_leaves(place: Place) -> None:
    run = replace(running(epochs=5), place=place)
    assert prevent(run, world(8000.0, share=0.1), POLICY) is None
    assert prevent(running(epochs=5), world(8000.0, share=0.1), POLICY)


def test_a_guarded_start_goes_by_the_bound_of_a_validation() -> None:
    nearly = world(1000.0, share=2.1, spread=1.3)
    assert prevent(running(), nearly, POLICY) is None
    found = prevent(running(), nearly, replace(POLICY, guarded_start=True))
    assert found is not None
    assert found.order == VALIDATION_BATCH


@pytest.mark.parametrize(
    ("changes", "policy"),
    [
        ({}, replace(POLICY, mode="observe")),
        ({}, replace(POLICY, prevention=False)),
        ({"multi_scale": 0.0}, replace(POLICY, levers=(), leave_probability=1.0)),
        ({}, replace(POLICY, levers=("batch",), leave_probability=1.0)),
        ({"stride": None}, replace(POLICY, leave_probability=1.0)),
        ({"leaving": True}, POLICY),
    ],
)
def test_what_must_not_be_done(changes: dict[str, Any], policy: Policy) -> None:
    assert prevent(running(**changes), world(2500.0, share=0.1), policy) is None


def test_nobody_orders_a_training_that_has_failed_or_leaves() -> None:
    words = LastWords(1.0, "RuntimeError", "no", Place(), Memory())
    for run in (replace(running(), last_words=words), replace(running(), left=3)):
        assert prevent(run, world(2500.0), POLICY) is None


NUMBERS = st.none() | st.integers(0, 4 * CAPACITY)


@given(NUMBERS, NUMBERS, st.none() | st.floats(0, 1), NUMBERS, st.sampled_from("vb"))
def test_unknown_orders_nothing(
    point: int | None, bound: int | None, likely: float | None, capacity: int | None, which: str
) -> None:
    """Whatever is replaced by unknown: what follows is the same order, or none."""
    phase = {"v": "validation", "b": "backward"}[which]
    whole = Outlook(phase, point, bound, likely, capacity)
    known = prevent(running(), lambda _spec: (whole,), POLICY)
    for name in ("point_bytes", "bound_bytes", "probability", "capacity_bytes"):
        less = replace(whole, **{name: None})
        found = prevent(running(), lambda _spec, told=less: (told,), POLICY)
        assert found is None or known is not None
        if found is not None and known is not None:
            assert found.order in (known.order, LEAVE)
    if point is None or capacity is None:
        assert known is None


def test_what_is_in_force_is_told_by_the_trainer_itself() -> None:
    spec = replace(SPEC, multi_scale=0.25, validation_batch=8, leaving=None)
    assert in_force(spec, MULTI_SCALE, 0.25)
    assert not in_force(spec, MULTI_SCALE, 0.2)
    assert in_force(spec, VALIDATION_BATCH, 8.0)
    assert not in_force(spec, LEAVE, 1.0)
    assert in_force(replace(spec, leaving=True), LEAVE, 1.0)
    assert not in_force(None, MULTI_SCALE, 0.25)
    assert not in_force(replace(spec, multi_scale=None), MULTI_SCALE, 0.0)


def test_the_verdict_says_what_is_foreseen() -> None:
    verdict = foreseen(running(), Outlook("validation", 20 * GIB, 21 * GIB, 0.98, CAPACITY))
    assert (verdict.kind, verdict.where) == (Kind.FORESEEN, Where.VALIDATION)
    assert verdict.sentence == "Memory is foreseen to run out in validation: 20.0 GiB of 16.0 GiB."
    assert "probability of a failure 0.98" in verdict.evidence
