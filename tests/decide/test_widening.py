"""A narrowed range of sizes is widened one stride at a time, and only when headroom is proven."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decide.build import GIB, SPEC, linear_footprints, state
from yolowatch.decide.widening import Wider, wider
from yolowatch.model.plan import Edits, Plan, Policy
from yolowatch.model.run import Footprint, Memory, Place, RunSpec, RunState

USER = replace(SPEC, batch=8, multi_scale=0.5, image_size_max=960, image_size_min=320)
NARROWED = {"batch": 8, "multi_scale": 0.25, "image_size_max": 800, "image_size_min": 480}
PER_PIXEL = 2000.0
PRINTS = linear_footprints(2 * GIB, PER_PIXEL, [(8, 640), (8, 800)])
PLAN = Plan("incident", 1, Edits(multi_scale=0.25), (), None, 24 * GIB, 0.05, "it did not fit")
POLICY = Policy(widen_after_batches=50)


def running(
    prints: tuple[Footprint, ...] = PRINTS, peak: int | None = 12 * GIB, **spec: Any
) -> RunState:
    memory = Memory(peak_bytes=peak, capacity_bytes=24 * GIB)
    run = state(None, prints, attempt=1, **{**NARROWED, **spec})
    return replace(run, memory=memory, place=Place(step=60))


def ask(
    run: RunState | None = None,
    *,
    user: RunSpec = USER,
    plan: Plan = PLAN,
    batches: int = 60,
    failed_pixels: int | None = None,
    policy: Policy = POLICY,
) -> Wider | None:
    return wider(
        user=user,
        plan=plan,
        state=run or running(),
        batches=batches,
        failed_pixels=failed_pixels,
        policy=policy,
    )


def test_one_stride_at_a_time_up_to_the_users_own() -> None:
    sides, ratio, side = [], 0.25, 800
    while True:
        seen = linear_footprints(2 * GIB, PER_PIXEL, [(8, 640), (8, side)])
        found = ask(running(seen, multi_scale=ratio, image_size_max=side))
        if found is None:
            break
        assert found.ratio > ratio
        ratio, side = found.ratio, found.side
        sides.append(side)
    assert sides == [832, 864, 896, 928, 960]
    assert ratio == USER.multi_scale


def test_the_predicted_peak_is_that_of_the_next_size() -> None:
    found = ask()
    assert found is not None
    assert found.predicted_peak_bytes == pytest.approx(2 * GIB + PER_PIXEL * 8 * 832**2, rel=0.2)
    assert found.predicted_peak_bytes >= 12 * GIB


@pytest.mark.parametrize(
    "changes",
    [
        {"batches": 49},
        {"policy": replace(POLICY, mode="recommend")},
        {"policy": replace(POLICY, levers=("batch",))},
        {"plan": replace(PLAN, edits=Edits(batch=8))},
        {"user": replace(USER, multi_scale=0.25, image_size_max=800)},
        {"user": replace(USER, image_size=320)},
        {"failed_pixels": 8 * 832 * 832},
        {"failed_pixels": 0},
        {"run": running(peak=23 * GIB)},
        {"run": running(linear_footprints(2 * GIB, 4200.0, [(8, 640), (8, 800)]))},
        {"run": running(linear_footprints(2 * GIB, PER_PIXEL, [(8, 640), (8, 768)]))},
        {"run": running(linear_footprints(2 * GIB, PER_PIXEL, [(8, 640), (4, 800)]))},
        {"run": running(())},
    ],
)
def test_it_stays_as_it_is_without_proof(changes: dict[str, Any]) -> None:
    assert ask() is not None
    assert ask(**changes) is None


def test_a_failure_at_a_larger_size_does_not_bar_the_smaller_ones() -> None:
    assert ask(failed_pixels=8 * 960 * 960) is not None


@given(
    spec=st.sets(st.sampled_from([f.name for f in fields(RunSpec) if f.name != "trainer"])),
    user=st.sets(st.sampled_from([f.name for f in fields(RunSpec) if f.name != "trainer"])),
    memory=st.sets(st.sampled_from(["peak_bytes", "capacity_bytes"])),
    prints=st.sets(st.integers(0, len(PRINTS) - 1)),
    base=st.booleans(),
    capacity=st.booleans(),
)
def test_what_is_unknown_never_widens_more(
    spec: set[str],
    user: set[str],
    memory: set[str],
    prints: set[int],
    base: bool,
    capacity: bool,
) -> None:
    known = ask()
    assert known is not None
    run = running()
    assert run.spec is not None
    left = tuple(p for i, p in enumerate(run.footprints) if i not in prints)
    if base:
        left = tuple(replace(p, base_bytes=None) for p in left)
    less = replace(
        run,
        spec=replace(run.spec, **dict.fromkeys(spec)),
        memory=replace(run.memory, **dict.fromkeys(memory)),
        footprints=left,
    )
    plan = replace(PLAN, capacity_bytes=None) if capacity else PLAN
    found = ask(less, user=replace(USER, **dict.fromkeys(user)), plan=plan)
    assert found is None or found.side <= known.side
    needed = {"batch", "multi_scale", "image_size", "image_size_max", "stride"}
    if spec & needed or user & {"multi_scale", "image_size_max", "image_size"} or memory:
        assert found is None
