"""The sets of levers: the cheapest that fits, in order of what they cost the science."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.decide.build import GIB, SPEC, failed, linear_footprints, state
from tests.decide.test_planner import PRINTS, planned, refused
from yolowatch.decide.combining import combinations
from yolowatch.model.plan import LEVERS, Cost, Edits, Policy
from yolowatch.model.run import RunSpec, RunState

ABLE = replace(
    SPEC,
    multi_scale=0.5,
    image_size_max=960,
    stride=32,
    precision="fp32",
    autocast="bf16",
    checkpointable=9,
    checkpointed=0,
)


def tight(**spec: Any) -> RunState:
    """Fails at batch 1: what does not depend on the batch takes nearly all."""
    words = failed(batch=1, allocated=22 * GIB, requested=2 * GIB)
    prints = linear_footprints(16 * GIB, 15000.0, [(1, 640)])
    able = {name: getattr(ABLE, name) for name in ("precision", "autocast", "checkpointable")}
    return state(words, prints, batch=1, **{**able, "checkpointed": 0, **spec})


def test_they_come_in_the_order_of_their_cost() -> None:
    found = list(combinations(ABLE, Edits(), LEVERS))
    titles = [each.title for each in found]
    assert titles[:2] == ["", "checkpointing"]
    altering = [any(u.cost is Cost.ALTERS_RESULT for u in each.uses) for each in found]
    assert altering == sorted(altering)
    sizes = [each.largest_side for each in found if each.title == "multi-scale"]
    assert sizes == list(range(928, 639, -32)), "the widest range first"
    last = [each.edits.multi_scale for each in found if each.title == "multi-scale"][-1]
    assert last == 0.0
    assert titles[-1] == "amp and multi-scale and checkpointing"


@pytest.mark.parametrize(
    ("spec", "earlier", "allowed"),
    [
        (SPEC, Edits(), LEVERS),  # nothing is known of what it could do
        (ABLE, Edits(), ("batch", "allocator")),
        (
            replace(ABLE, checkpointed=9, precision="bf16", multi_scale=0.0),
            Edits(),
            LEVERS,
        ),
    ],
)
def test_there_is_only_the_batch(spec: RunSpec, earlier: Edits, allowed: tuple[str, ...]) -> None:
    assert [each.title for each in combinations(spec, earlier, allowed)] == [""]


def test_what_is_in_force_already_is_not_weighed_again() -> None:
    found = combinations(ABLE, Edits(checkpointing=True, amp="bf16"), LEVERS)
    assert {each.title for each in found} == {"", "multi-scale"}


def test_a_smaller_batch_is_taken_before_anything_else() -> None:
    run = state(failed(), PRINTS, multi_scale=0.0, checkpointable=9, autocast="bf16")
    assert [use.name for use in planned(run).levers] == ["batch"]


def test_at_batch_one_activations_are_computed_again() -> None:
    chosen = planned(tight(), user=replace(ABLE, batch=1, accumulate=64))
    assert [use.name for use in chosen.levers] == ["checkpointing"]
    assert chosen.edits == Edits(checkpointing=True)
    assert "Batch 1 with checkpointing" in chosen.reason


def test_rather_than_two_images_at_once_activations_are_computed_again() -> None:
    """Of so few BatchNorm learns little; that a step takes longer alters nothing."""
    words = failed(batch=16, allocated=23 * GIB, requested=2 * GIB)
    prints = linear_footprints(19 * GIB, 3000.0, [(2, 640), (16, 640)])
    run = state(words, prints, batch=16, checkpointable=9, checkpointed=0)
    user = replace(ABLE, batch=16, accumulate=4)
    alone = planned(run, user=user, policy=Policy(levers=("batch",)))
    both = planned(run, user=user)
    assert alone.edits.batch is not None
    assert alone.edits.batch < 4
    assert both.edits.batch is not None
    assert both.edits.batch >= 4
    assert [use.name for use in both.levers] == ["checkpointing", "batch"]
    assert any("BatchNorm" in each.reason for each in both.rejected)


def test_an_earlier_lever_is_kept_and_the_next_one_is_taken() -> None:
    earlier = Edits(batch=1, nbs=64, weight_decay=0.0005, checkpointing=True)
    run = tight(checkpointed=9)
    chosen = planned(run, user=replace(ABLE, accumulate=4), earlier=earlier)
    assert [use.name for use in chosen.levers] == ["amp"]
    assert chosen.edits == replace(earlier, amp="bf16")


def test_without_permission_it_is_refused() -> None:
    policy = Policy(levers=("batch",))
    user = replace(ABLE, batch=1, accumulate=64)
    assert "batch 1, the smallest there is" in refused(tight(), user=user, policy=policy).reason


def test_a_range_is_narrowed_to_the_widest_that_fits() -> None:
    words = failed(side=960, batch=1, allocated=22 * GIB, requested=2 * GIB)
    prints = linear_footprints(8 * GIB, 17000.0, [(1, 640), (1, 896)])
    run = state(words, prints, batch=1, multi_scale=0.5, image_size_max=960)
    policy = Policy(levers=("batch", "multi-scale"))
    chosen = planned(run, user=replace(ABLE, batch=1, accumulate=64), policy=policy)
    (use,) = chosen.levers
    assert use.cost is Cost.ALTERS_RESULT
    assert chosen.edits.multi_scale is not None
    side = round(640 * (1 + chosen.edits.multi_scale))
    assert 640 <= side < 960
    assert chosen.predicted_peak_bytes is not None
    assert chosen.capacity_bytes is not None
    assert chosen.predicted_peak_bytes <= 0.95 * chosen.capacity_bytes
