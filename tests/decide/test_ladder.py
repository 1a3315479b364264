"""The levers keep what the user chose, to the last bit that floats allow."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decide.build import GIB, SPEC, failed, footprint, linear_footprints, state
from yolowatch.decide.forecast import Laws, fit
from yolowatch.decide.ladder import (
    MAX_REJECTED,
    Recipe,
    batch_edits,
    fits,
    rejected,
    smaller_batches,
)

RECIPE = Recipe(batch=16, nbs=64, weight_decay=0.0005, effective_batch=64)


def recipe_for(batch: int, nbs: int = 64, weight_decay: float = 0.0005) -> Recipe:
    return Recipe(batch, nbs, weight_decay, batch * max(round(nbs / batch), 1))


@pytest.mark.parametrize("batch", [16, 24, 48, 128])
def test_usual_batches_keep_their_weight_decay(batch: int) -> None:
    recipe = recipe_for(batch)
    wanted = recipe.effective_weight_decay
    # (w * b) * a / 48 skips over 0.000375 for every w: there its neighbour is as near as it gets.
    # A resumed run has the exact number all the same, from the optimizer in the checkpoint.
    near = {wanted} if batch != 48 else {wanted, math.nextafter(wanted, 1.0)}
    for smaller in range(1, batch):
        if recipe.effective_batch % smaller == 0:
            edits = batch_edits(recipe, smaller)
            assert edits.nbs == recipe.effective_batch
            accumulate = max(round(edits.nbs / smaller), 1)  # the trainer's own formula
            assert smaller * accumulate == recipe.effective_batch
            assert edits.weight_decay is not None
            assert recipe.scaled(edits.weight_decay, smaller, accumulate, edits.nbs) in near


@given(
    batch=st.integers(1, 512),
    nbs=st.integers(1, 512),
    decay=st.floats(0.0, 0.1, allow_subnormal=False),
    pick=st.integers(0, 1000),
)
def test_any_recipe_is_kept(batch: int, nbs: int, decay: float, pick: int) -> None:
    recipe = recipe_for(batch, nbs, decay)
    divisors = [d for d in range(1, batch + 1) if recipe.effective_batch % d == 0]
    smaller = divisors[pick % len(divisors)]
    edits = batch_edits(recipe, smaller)
    assert edits.batch == smaller
    assert edits.nbs is not None
    assert edits.weight_decay is not None
    accumulate = max(round(edits.nbs / smaller), 1)
    assert smaller * accumulate == recipe.effective_batch
    after = recipe.scaled(edits.weight_decay, smaller, accumulate, edits.nbs)
    wanted = recipe.effective_weight_decay
    assert after == wanted or math.isclose(after, wanted, rel_tol=4e-16)


def test_no_weight_decay_stays_none() -> None:
    assert batch_edits(recipe_for(16, 64, 0.0), 8).weight_decay == 0.0


def test_a_recipe_needs_every_part() -> None:
    assert Recipe.of(SPEC) == RECIPE
    for unknown in ("batch", "accumulate", "nbs", "weight_decay"):
        change: dict[str, Any] = {unknown: None}
        assert Recipe.of(replace(SPEC, **change)) is None
    assert Recipe.of(replace(SPEC, batch=-1)) is None
    assert Recipe.of(replace(SPEC, nbs=0)) is None
    assert Recipe.of(replace(SPEC, accumulate=0)) is None


def test_a_short_training_caps_the_accumulation_but_not_the_decay() -> None:
    # 20 images, 1 epoch: the trainer caps 4 accumulated batches to 2 after it scaled the decay.
    capped = Recipe.of(replace(SPEC, accumulate=2))
    assert capped is not None
    assert capped.effective_batch == 32
    assert capped.effective_weight_decay == 0.0005


def test_candidates_are_the_divisors_below_the_failed_batch_largest_first() -> None:
    found = smaller_batches(SPEC, RECIPE, state(failed()), Laws(), 16)
    assert [each.batch for each in found] == [8, 4, 2, 1]
    assert all(each.peaks.highest is None for each in found)
    recipe = recipe_for(24)
    found = smaller_batches(SPEC, recipe, state(failed(batch=24), batch=24), Laws(), 24)
    assert [each.batch for each in found] == [18, 12, 9, 8, 6, 4, 3, 2, 1]


@given(st.integers(1, 256), st.integers(1, 256))
def test_candidates_always_divide(effective: int, failed_batch: int) -> None:
    recipe = Recipe(failed_batch, 64, 0.0005, effective)
    found = smaller_batches(SPEC, recipe, state(failed()), Laws(), failed_batch)
    assert all(effective % each.batch == 0 and each.batch < failed_batch for each in found)


def test_the_peak_is_that_of_the_largest_image_of_the_range() -> None:
    run = state(
        failed(side=768),
        linear_footprints(2 * GIB, 2000.0, [(16, 480), (16, 640)]),
        image_size_max=960,
    )
    laws = fit(run)
    assert laws.training is not None
    eight = smaller_batches(SPEC, RECIPE, run, laws, 16)[0]
    assert eight.peaks.training == laws.training.peak_bytes(8 * 960**2)


def test_validation_goes_with_the_batch_unless_the_set_is_small() -> None:
    prints = (
        *linear_footprints(2 * GIB, 500.0, [(16, 640)]),
        footprint("validation", 32, 640, 2 * GIB, 22 * GIB),
    )
    for known, expected in ((32, 16), (16, 8), (10, 10), (None, 16)):
        run = state(failed(), prints, validation_batch=known)
        laws = fit(run)
        assert laws.validation is not None
        eight = smaller_batches(SPEC, RECIPE, run, laws, 16)[0]
        assert eight.peaks.validation == laws.validation.peak_bytes(expected * 640**2)


def test_what_the_trainer_would_not_keep_is_objected_to() -> None:
    # One image of 96 px at half the size has one value a channel, which BatchNorm refuses.
    tiny = replace(SPEC, image_size=96, image_size_min=32, image_size_max=128, train_images=33)
    found = smaller_batches(tiny, RECIPE, state(failed()), Laws(), 16)
    assert [each.batch for each in found if each.objection is None] == []
    even = replace(tiny, train_images=36)
    found = smaller_batches(even, RECIPE, state(failed()), Laws(), 16)
    assert [each.batch for each in found if each.objection is None] == [8, 4, 2]
    # Two batches of 48 make one step of 96; of 18 images a batch of 8 makes only 24 images.
    short = replace(SPEC, train_images=18, epochs=1)
    recipe = Recipe(48, 96, 0.0005, 48)
    found = smaller_batches(short, recipe, state(failed()), Laws(), 48)
    assert all(each.objection is not None for each in found)


def test_rejections_say_which_peak_and_are_few() -> None:
    run = state(failed(batch=512), linear_footprints(2 * GIB, 9000.0, [(512, 64)]), batch=512)
    recipe = Recipe(512, 64, 0.0005, 512)
    found = smaller_batches(SPEC, recipe, run, fit(run), 512)
    limit = 3.0 * GIB
    assert not fits(found[0], limit)
    listed = rejected(found, limit)
    assert len(listed) == MAX_REJECTED
    assert listed[0].option == "batch 256"
    assert "training peak is predicted at" in listed[0].reason
    assert "over the 3.0 GiB that may be used" in listed[0].reason
