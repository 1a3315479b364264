"""The memory law: exact on exact data, honest on the rest, and true of recorded real trainings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decide.build import GIB, MIB, failed, footprint, linear_footprints, recorded, state
from yolowatch.decide.forecast import Laws, fit, needed_at_failure, peak
from yolowatch.model.plan import Law
from yolowatch.model.run import RunState

FIXED, PER_PIXEL = 2 * GIB, 2500.0


def truth(batch: int, side: int, fixed: int = FIXED, per_pixel: float = PER_PIXEL) -> float:
    return fixed + per_pixel * batch * side * side


def training(run: RunState) -> Law:
    law = fit(run).training
    assert law is not None
    return law


def test_a_linear_training_of_one_size_is_predicted_within_its_gradients() -> None:
    run = state(None, linear_footprints(FIXED, PER_PIXEL, [(16, 640)]))
    law = training(run)
    assert not fit(run).weak
    for batch in (1, 2, 4, 8, 16):
        predicted, true = law.peak_bytes(batch * 640 * 640), truth(batch, 640)
        # Never less than what is taken; more at most by what might not go with the batch.
        assert true - 1 <= predicted <= true + 200 * MIB + 1


def test_a_linear_training_of_many_sizes_is_extrapolated() -> None:
    shapes = [(16, side) for side in (320, 480, 640, 800)]
    run = state(None, linear_footprints(FIXED, PER_PIXEL, shapes), image_size_max=960)
    predicted = training(run).peak_bytes(16 * 960 * 960)
    assert predicted == pytest.approx(truth(16, 960), rel=0.02)


@given(
    fixed=st.integers(GIB // 2, 8 * GIB),
    per_pixel=st.floats(300.0, 6000.0),
    sides=st.lists(st.sampled_from([320, 416, 512, 640, 768, 960]), min_size=1, max_size=6),
    noise=st.lists(st.floats(-0.01, 0.01), min_size=6, max_size=6),
)
def test_smaller_batches_are_predicted_in_spite_of_noise(
    fixed: int, per_pixel: float, sides: list[int], noise: list[float]
) -> None:
    prints = []
    for side, error in zip(sides, noise, strict=False):
        rise = per_pixel * 16 * side * side
        end = round(fixed + 0.8 * rise)
        prints.append(footprint("forward", 16, side, fixed, end, exact=False))
        prints.append(footprint("backward", 16, side, fixed, round(fixed + rise * (1 + error))))
    law = training(state(None, tuple(prints)))
    largest = max(sides)
    for batch in (1, 4, 8):
        true = truth(batch, largest, fixed, per_pixel)
        predicted = law.peak_bytes(batch * largest * largest)
        rise = per_pixel * 16 * largest * largest
        assert true - 0.02 * rise <= predicted
        # Too much at most by the gradients or the part that the forward passes did not hold.
        assert predicted <= true + min(200 * MIB, 0.2 * rise) + 0.02 * rise


@given(
    bases=st.lists(st.one_of(st.none(), st.integers(0, 30 * GIB)), min_size=1, max_size=8),
    peaks=st.lists(st.integers(0, 30 * GIB), min_size=8, max_size=8),
    sides=st.lists(st.sampled_from([0, 32, 640, 1280]), min_size=8, max_size=8),
    phases=st.lists(
        st.sampled_from(["forward", "backward", "validation", "optimizer"]), min_size=8, max_size=8
    ),
    fail=st.booleans(),
)
def test_no_data_makes_a_silly_law(
    bases: list[int | None], peaks: list[int], sides: list[int], phases: list[str], fail: bool
) -> None:
    prints = tuple(
        footprint(phase, 4, side, base, top, exact=bool(top % 2))
        for base, top, side, phase in zip(bases, peaks, sides, phases, strict=False)
    )
    laws = fit(state(failed() if fail else None, prints))
    for law in (laws.training, laws.validation):
        if law is not None:
            assert law.fixed_bytes >= 0
            assert law.per_pixel_bytes >= 0
            assert law.peak_bytes(10) <= law.peak_bytes(10_000_000)


def test_without_a_measured_batch_there_is_no_law() -> None:
    laws = fit(state())
    assert laws == Laws(None, None, True, ("no whole training batch was measured",))
    inexact = (footprint("backward", 16, 640, GIB, 3 * GIB, exact=False),)
    assert fit(state(None, inexact)).training is None


def test_state_that_does_not_exist_yet_is_added() -> None:
    prints = linear_footprints(FIXED, PER_PIXEL, [(16, 640)])[:-1]
    with_state = state(None, prints, optimizer_state_exists=True)
    without = state(None, prints, optimizer_state_exists=False)
    gain = training(without).fixed_bytes - training(with_state).fixed_bytes
    assert gain == pytest.approx(200 * MIB, abs=1)
    # A footprint of an optimizer step shows that it does exist by now.
    stepped = state(
        None, linear_footprints(FIXED, PER_PIXEL, [(16, 640)]), optimizer_state_exists=False
    )
    assert training(stepped).fixed_bytes == training(with_state).fixed_bytes


def test_state_of_unknown_size_makes_the_law_a_bound() -> None:
    prints = linear_footprints(FIXED, PER_PIXEL, [(16, 640)])[:-1]
    unknown = state(None, prints, optimizer_state_exists=None, optimizer_state_bytes=None)
    assert fit(unknown).weak
    assert any("not known" in note for note in fit(unknown).notes)


def test_gradients_of_unknown_size_never_make_a_smaller_batch_look_smaller() -> None:
    prints = linear_footprints(FIXED, PER_PIXEL, [(16, 640)])
    known = training(state(None, prints))
    unknown = training(state(None, prints, parameter_bytes=None))
    for batch in (1, 2, 4, 8):
        assert unknown.peak_bytes(batch * 640**2) >= known.peak_bytes(batch * 640**2) - 1


def test_the_failure_at_a_larger_size_makes_the_law_steeper() -> None:
    prints = linear_footprints(FIXED, 1000.0, [(16, 480), (16, 640)])
    words = failed(side=960, allocated=22 * GIB, requested=GIB)
    before = training(state(None, prints, image_size_max=960))
    after = training(state(words, prints, image_size_max=960))
    assert after.peak_bytes(16 * 960**2) == pytest.approx(23 * GIB, rel=1e-6)
    assert after.fixed_bytes == before.fixed_bytes
    assert after.per_pixel_bytes > before.per_pixel_bytes


def test_the_failure_at_a_size_that_fitted_raises_the_law() -> None:
    prints = linear_footprints(FIXED, 1000.0, [(16, 640)])
    words = failed(allocated=22 * GIB, requested=GIB)
    before = training(state(None, prints))
    after = training(state(words, prints))
    assert after.per_pixel_bytes == before.per_pixel_bytes
    assert after.peak_bytes(16 * 640**2) == pytest.approx(23 * GIB, rel=1e-6)


def test_a_failure_below_the_law_changes_nothing() -> None:
    prints = linear_footprints(FIXED, PER_PIXEL, [(16, 640)])
    words = failed(allocated=GIB, requested=MIB)
    assert fit(state(words, prints)) == fit(state(None, prints))


def test_the_first_batch_that_fails_gives_only_a_bound() -> None:
    laws = fit(state(failed()))
    assert laws.weak
    assert laws.training is not None
    assert laws.training.peak_bytes(16 * 640**2) == pytest.approx(24 * GIB, rel=1e-6)


def test_validation_has_its_own_law_when_it_was_the_peak() -> None:
    prints = (
        *linear_footprints(FIXED, PER_PIXEL, [(16, 640)]),
        footprint("validation", 32, 640, FIXED, FIXED + 20 * GIB),
    )
    law = fit(state(None, prints)).validation
    assert law is not None
    assert law.peak_bytes(32 * 640**2) == pytest.approx(FIXED + 20 * GIB, rel=1e-6)
    assert law.peak_bytes(16 * 640**2) == pytest.approx(FIXED + 10 * GIB, rel=0.02)


def test_a_validation_below_the_training_needs_no_law() -> None:
    prints = (
        *linear_footprints(FIXED, PER_PIXEL, [(16, 640)]),
        footprint("validation", 32, 640, FIXED, FIXED + GIB, exact=False),
    )
    assert fit(state(None, prints)).validation is None


def test_a_failed_validation_makes_a_law_of_its_own() -> None:
    prints = linear_footprints(FIXED, PER_PIXEL, [(16, 640)])
    words = failed(phase="validation", batch=32, side=672)
    laws = fit(state(words, prints))
    assert laws.validation is not None
    assert laws.validation.peak_bytes(32 * 672**2) == pytest.approx(24 * GIB, rel=1e-6)
    # The training law is not touched: it says nothing of the training.
    assert laws.training == fit(state(None, prints)).training


def test_needed_at_failure_needs_both_figures() -> None:
    assert needed_at_failure(failed()) == 24 * GIB
    silent = replace(failed(), text="CUDA error: out of memory")
    assert needed_at_failure(silent) == 24 * GIB  # the hook's own figures
    assert needed_at_failure(replace(silent, requested_bytes=None)) is None


def test_peaks_are_of_both_phases() -> None:
    laws = Laws(Law("backward", 10.0, 2.0, 3), Law("validation", 5.0, 4.0, 1), False)
    peaks = peak(laws, batch=2, image_pixels=100, validation_batch=4, validation_image_pixels=121)
    assert (peaks.training, peaks.validation, peaks.highest) == (410, 1941, 1941)
    assert peak(laws, batch=2, image_pixels=100).validation is None
    assert peak(Laws(), batch=2, image_pixels=100).highest is None


# ---------------------------------------------------------------- recorded real trainings

SMALLER = [
    ("320 px batch 16", "320 px batch 8", 8 * 320**2),
    ("320 px batch 16", "320 px batch 4", 4 * 320**2),
    ("320 px batch 16", "320 px batch 2", 2 * 320**2),
    ("320 px batch 8", "320 px batch 4", 4 * 320**2),
    ("320 px batch 8", "320 px batch 2", 2 * 320**2),
    ("320 px batch 4", "320 px batch 2", 2 * 320**2),
    ("160 px batch 16", "160 px batch 4", 4 * 160**2),
]


@pytest.mark.parametrize(("measured", "other", "pixels"), SMALLER)
def test_real_trainings_of_smaller_batches(measured: str, other: str, pixels: int) -> None:
    """What a real training took, predicted from the real training of a larger batch."""
    run, _ = recorded(measured)
    laws = fit(run)
    assert not laws.weak
    assert laws.training is not None
    _, taken = recorded(other)
    # What the heap will still grow is foreseen, so that it is rather too much than too little.
    assert 0.99 * taken <= laws.training.peak_bytes(pixels) <= 1.07 * taken


@pytest.mark.parametrize("other", ["160 px batch 4", "320 px batch 2", "320 px batch 4"])
def test_a_real_multi_scale_training_promises_too_little_rather_than_too_much(other: str) -> None:
    run, _ = recorded("multi-scale 160 px batch 8")
    smaller, taken = recorded(other)
    assert smaller.spec is not None
    assert smaller.spec.batch is not None
    assert smaller.spec.image_size is not None
    law = fit(run).training
    assert law is not None
    predicted = law.peak_bytes(smaller.spec.batch * smaller.spec.image_size**2)
    assert taken <= predicted <= 1.15 * taken


def test_a_failure_with_more_boxes_makes_the_law_steeper() -> None:
    """A table of boxes and places grew, of which a smaller batch has a smaller one."""
    prints = linear_footprints(FIXED, 1000.0, [(16, 640)])
    words = failed(allocated=22 * GIB, requested=GIB)
    crowded = replace(words, place=replace(words.place, boxes=900))
    before, laws = training(state(None, prints)), fit(state(crowded, prints))
    assert laws.dense
    assert laws.training is not None
    assert laws.training.fixed_bytes == before.fixed_bytes
    assert laws.training.peak_bytes(16 * 640**2) == pytest.approx(23 * GIB, rel=1e-6)
    # YOLOv5 makes no such table.
    assert not fit(state(crowded, prints, trainer="yolov5")).dense


def test_the_densest_image_of_the_data_set_is_reckoned_with() -> None:
    prints = linear_footprints(FIXED, PER_PIXEL, [(16, 640)])
    plain, dense = fit(state(None, prints)).training, fit(state(None, prints), 900).training
    assert plain is not None
    assert dense is not None
    more = dense.per_pixel_bytes - plain.per_pixel_bytes
    assert more == pytest.approx(2.6 * (2 * 900 - 90 / 16))


def test_after_a_prediction_has_failed_it_is_only_a_bound() -> None:
    sure = fit(state(None, linear_footprints(FIXED, PER_PIXEL, [(16, 640)])))
    assert not sure.weak
    assert sure.as_bound().weak
    assert sure.as_bound().halvings == 1
    assert replace(sure, dense=True).as_bound().halvings == 2
