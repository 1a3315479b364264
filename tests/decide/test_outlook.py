"""The outlook: what is to come, how sure that is, and silence where too little is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decide.build import GIB, MIB, SPEC, footprint, linear_footprints, state
from yolowatch.decide.learning import key_of, lesson_of
from yolowatch.decide.outlook import foresee
from yolowatch.model.forecast import Lesson, Outlook
from yolowatch.model.run import Memory, Place, RunState, Sample

FIXED, PER_PIXEL = 2 * GIB, 2500.0
SIDES = (320, 640, 480, 640, 320, 480, 640)


def seen(
    capacity: int | None = 24 * GIB, sides: tuple[int, ...] = SIDES, **spec: object
) -> RunState:
    """A training on a GPU after some batches of several sizes; its largest is still to come."""
    prints = linear_footprints(FIXED, PER_PIXEL, [(16, side) for side in sides])
    top = max(each.peak_bytes for each in prints)
    now = Memory(allocated_bytes=FIXED, peak_bytes=top, capacity_bytes=capacity)
    place = Place("forward", 0, len(sides), 16, 640, 640, 4, 50)
    told = {"image_size_max": 960, "image_size_min": 320, **spec}
    return replace(state(None, prints, **told), memory=now, place=place)


def of(run: RunState, phase: str) -> Outlook:
    return next(each for each in foresee(run).outlooks if each.phase == phase)


def test_the_largest_size_of_the_range_is_foreseen() -> None:
    found = of(seen(), "backward")
    true = FIXED + PER_PIXEL * 16 * 960**2
    assert found.point_bytes == pytest.approx(true, rel=0.03)
    assert found.bound_bytes is not None
    assert true <= found.bound_bytes <= 1.25 * true


@pytest.mark.parametrize(
    ("part", "least", "most"), [(0.7, 0.99, 1.0), (1.0, 0.1, 0.9), (1.4, 0.0, 0.01)]
)
def test_the_probability_follows_the_capacity(part: float, least: float, most: float) -> None:
    need = of(seen(), "backward").point_bytes
    assert need is not None
    found = of(seen(round(part * need)), "backward")
    assert found.probability is not None
    assert least <= found.probability <= most


def test_the_most_probable_failure_comes_first() -> None:
    worst = foresee(seen(25 * GIB)).worst
    assert worst is not None
    assert worst.phase == "backward"
    assert foresee(seen(25 * GIB)).outlooks[1].phase == "validation"


def test_state_of_the_optimizer_is_to_come_until_it_exists() -> None:
    there = seen(optimizer_state_exists=True)
    before = replace(
        there,
        footprints=tuple(each for each in there.footprints if each.phase != "optimizer"),
        spec=replace(there.spec or SPEC, optimizer_state_exists=False),
    )
    assert "optimizer" not in {each.phase for each in foresee(there).outlooks}
    first = of(before, "optimizer")
    assert first.from_step == 7  # the fourth batch of an optimizer step is the next one
    gain = (of(before, "backward").point_bytes or 0) - (of(there, "backward").point_bytes or 0)
    assert gain == pytest.approx(200 * MIB, abs=1)


def test_the_validation_comes_at_the_end_of_the_epoch() -> None:
    found = of(seen(), "validation")
    assert found.from_step == 625
    assert found.point_bytes is not None
    assert FIXED < found.point_bytes < FIXED + PER_PIXEL * 32 * 672**2


def test_a_dense_image_costs_more_where_boxes_are_assigned() -> None:
    sparse = foresee(seen()).worst
    dense = foresee(seen(), most_boxes=900).worst
    assert sparse is not None
    assert dense is not None
    # 2.6 bytes for each of 16 x 900 boxes and each pixel, as it was measured elsewhere.
    gain = (dense.point_bytes or 0) - (sparse.point_bytes or 0)
    assert gain == pytest.approx(2.6 * 16 * 900 * 960**2, rel=0.2)
    without = foresee(seen(trainer="yolov5"), most_boxes=900).worst
    assert without is not None
    assert without.point_bytes == pytest.approx(sparse.point_bytes, rel=0.02)


def test_what_is_not_known_makes_no_number() -> None:
    assert foresee(RunState(0)).outlooks == ()
    assert foresee(state()).outlooks == ()
    blind = foresee(seen(None)).worst
    assert blind is not None
    assert blind.probability is None
    assert blind.point_bytes is not None


def test_a_capacity_that_moves_gives_no_probability() -> None:
    run = seen(24 * GIB)
    samples = tuple(
        Sample(float(number), Place(step=number), Memory(capacity_bytes=(20 + number) * GIB))
        for number in range(5)
    )
    worst = foresee(replace(run, samples=samples)).worst
    assert worst is not None
    assert worst.probability is None


def test_counters_that_went_backwards_are_not_believed() -> None:
    run = seen()
    for earlier, later in (
        (Sample(1.0, Place(step=50), Memory()), Sample(2.0, Place(step=3), Memory())),
        (
            Sample(1.0, Place(), Memory(peak_bytes=9 * GIB)),
            Sample(2.0, Place(), Memory(peak_bytes=2 * GIB)),
        ),
    ):
        assert foresee(replace(run, samples=(earlier, later))).outlooks == ()
    # Holes and a clock that was set are no such thing.
    holes = (Sample(9.0, Place(step=5), Memory()), Sample(1.0, Place(), Memory()))
    assert foresee(replace(run, samples=holes)) == foresee(run)


def test_footprints_of_another_program_are_left_out() -> None:
    """The process became another program: its highest mark is lower than what was told before."""
    run = seen()
    strangers = tuple(footprint("backward", 16, 640, 4 * GIB, 20 * GIB) for _ in range(3))
    both = replace(run, footprints=strangers + run.footprints)
    assert foresee(both) == foresee(run)


def test_a_lesson_is_the_first_guess() -> None:
    begun = seen(sides=(320,))
    taught = Lesson(PER_PIXEL, 100.0 * MIB, 600.0, 2)
    true = FIXED + PER_PIXEL * 16 * 960**2
    found = foresee(begun, lesson=taught).worst
    assert found is not None
    assert found.point_bytes == pytest.approx(true, rel=0.03)
    assert any("2 earlier runs" in note for note in foresee(begun, lesson=taught).notes)


def test_a_training_teaches_the_next_of_its_kind() -> None:
    run = replace(seen(classes=80, gpu="A GPU"), torch="2.15")
    run = replace(run, spec=replace(run.spec or SPEC, model="/a/yolo11n.yaml"))
    key = key_of(run)
    assert key is not None
    assert (key.model, key.classes, key.device) == ("yolo11n.yaml", 80, "A GPU")
    assert key_of(replace(run, spec=replace(run.spec or SPEC, classes=None))) is None
    first = lesson_of(run)
    assert first is not None
    assert first.training_bytes_per_pixel == pytest.approx(PER_PIXEL, rel=0.03)
    second = lesson_of(run, first)
    assert second is not None
    assert second.runs == 2
    assert lesson_of(seen(sides=(320,))) is None


@given(
    bases=st.lists(st.one_of(st.none(), st.integers(0, 30 * GIB)), min_size=8, max_size=8),
    peaks=st.lists(st.integers(0, 30 * GIB), min_size=8, max_size=8),
    sides=st.lists(st.sampled_from([0, 32, 640, 1280]), min_size=8, max_size=8),
    phases=st.lists(
        st.sampled_from(["forward", "backward", "validation", "optimizer", "save"]),
        min_size=8,
        max_size=8,
    ),
    capacity=st.one_of(st.none(), st.integers(0, 30 * GIB)),
    step=st.one_of(st.none(), st.integers(0, 1000)),
)
def test_no_data_makes_a_silly_outlook(
    bases: list[int | None],
    peaks: list[int],
    sides: list[int],
    phases: list[str],
    capacity: int | None,
    step: int | None,
) -> None:
    prints = tuple(
        footprint(phase, 4, side, base, top, exact=bool(top % 2))
        for base, top, side, phase in zip(bases, peaks, sides, phases, strict=True)
    )
    run = replace(
        state(None, prints, optimizer_state_exists=None),
        memory=Memory(capacity_bytes=capacity),
        place=Place(step=step),
    )
    for each in foresee(run, most_boxes=10).outlooks:
        assert each.point_bytes is not None
        assert each.bound_bytes is not None
        assert 0 <= each.point_bytes <= each.bound_bytes
        assert each.probability is None or 0.0 <= each.probability <= 1.0
        assert each.probability is None or capacity
