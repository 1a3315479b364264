"""What is found in a run that lives, and what is not: thresholds, causes, holes, counters."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.daemon.scenes import process
from tests.decide.build import GIB, MIB, SPEC
from tests.decide.windows import CAPACITY, denser, epochs, leaking, opened, watched, window
from yolowatch.decide import sustained
from yolowatch.decide.sustained import Finding, Vigil
from yolowatch.decide.track import Track, fold
from yolowatch.decide.watch_around import (
    HostTrack,
    device_fault,
    fold_host,
    forecast,
    host_leak,
    shared_memory,
    wedged_rank,
)
from yolowatch.model.device import DeviceReading, DeviceUser
from yolowatch.model.forecast import Outlook
from yolowatch.model.host import RunHost
from yolowatch.model.run import Memory, Place, RunSpec, Sample
from yolowatch.model.thresholds import Thresholds
from yolowatch.model.verdict import Kind

T = Thresholds()
FIXED = replace(SPEC, image_size_max=640)


def kinds(said: list[tuple[float, Kind]]) -> list[Kind]:
    return [kind for _, kind in said]


def near(at: float, part: float = 0.97, **more: Any) -> Sample:
    return window(at, high=round(part * CAPACITY), **more)


# ---------------------------------------------------------------- near-OOM and what is deeper


def test_little_headroom_is_said_once_it_has_lasted() -> None:
    said = watched(near(float(at)) for at in range(100))
    assert said == [(30.0, Kind.NEAR_OOM)]
    assert watched(near(float(at)) for at in range(30)) == []


@pytest.mark.parametrize(("part", "expected"), [(0.951, [Kind.NEAR_OOM]), (0.949, [])])
def test_the_threshold_is_the_policys(part: float, expected: list[Kind]) -> None:
    assert kinds(watched(near(float(at), part) for at in range(60))) == expected
    assert (
        kinds(
            watched(
                (near(float(at), part) for at in range(60)),
                thresholds=replace(T, near_oom_headroom=0.01),
            )
        )
        == []
    )


def test_a_peak_now_and_then_is_none() -> None:
    windows = [near(float(at)) if at % 20 == 0 else window(float(at)) for at in range(400)]
    assert watched(windows) == []


def test_it_is_not_said_again_before_the_cool_down_has_passed() -> None:
    windows = [near(float(at)) if at % 400 < 200 else window(float(at)) for at in range(4000)]
    said = watched(windows)
    assert said == [(30.0, Kind.NEAR_OOM), (2030.0, Kind.NEAR_OOM)]


def neighbours(*used: int | None, total: int = CAPACITY + 6 * GIB) -> DeviceReading:
    users = [DeviceUser(10, 20 * GIB, 1000, "alice", process(10))]
    users += [DeviceUser(70 + n, each, 1001, "bob") for n, each in enumerate(used)]
    return DeviceReading(0, total_bytes=total, users=tuple(users))


def test_a_neighbour_is_named_instead_of_the_run_that_suffers() -> None:
    windows = [near(float(at)) for at in range(100)]
    own = frozenset({10})
    assert watched(windows, device=neighbours(6 * GIB), pids=own) == [(10.0, Kind.NEIGHBOUR)]
    for harmless in (neighbours(), neighbours(MIB), neighbours(None), DeviceReading(0)):
        assert kinds(watched(windows, device=harmless, pids=own)) == [Kind.NEAR_OOM]
    calm = [window(float(at)) for at in range(100)]
    assert watched(calm, device=neighbours(6 * GIB), pids=own) == [], "there is room for both"


def test_retries_window_after_window_are_thrashing() -> None:
    rising = [window(float(at), retries=at) for at in range(30)]
    assert kinds(watched(rising)) == [Kind.THRASHING]
    idle = [window(float(at), retries=at, steps=0) for at in range(30)]
    assert watched(idle) == [], "no batch was trained"
    assert watched(window(float(at), retries=at // 5) for at in range(60)) == []


def test_much_that_is_held_in_pieces_is_fragmentation() -> None:
    held = {"split": 6 * GIB, "reserved": round(0.98 * CAPACITY)}
    assert kinds(watched(window(float(at), **held) for at in range(120))) == [Kind.FRAGMENTATION]
    roomy = {**held, "reserved": 16 * GIB}
    assert watched(window(float(at), **roomy) for at in range(120)) == []


# ---------------------------------------------------------------- a leak against dense batches


def test_a_leak_and_dense_batches_are_told_apart() -> None:
    assert kinds(watched(leaking(), FIXED)) == [Kind.LEAK]
    assert kinds(watched(denser(), FIXED)) == [Kind.DENSE_BATCHES]
    cpu = replace(FIXED, device="cpu")
    assert kinds(watched(leaking(), cpu)) == [Kind.LEAK]
    assert kinds(watched(denser(), cpu)) == [Kind.DENSE_BATCHES]


def test_on_the_cpu_denser_batches_explain_a_heap_that_stays() -> None:
    floors = [2 * GIB + number * 100 * MIB for number in range(8)]
    ceilings = [6 * GIB + number * 400 * MIB for number in range(8)]
    boxes = [50 + number * 40 for number in range(8)]
    both = epochs(floors, ceilings, boxes)
    assert kinds(watched(both, replace(FIXED, device="cpu"))) == [Kind.DENSE_BATCHES]
    assert kinds(watched(both, FIXED)) == [Kind.LEAK], "a device keeps nothing between two batches"


@pytest.mark.parametrize(
    "floors",
    [
        [2 * GIB] * 8,
        [GIB, 2 * GIB, 2 * GIB + 9 * MIB, *[2 * GIB + 10 * MIB] * 6],  # settles
        [2 * GIB, 3 * GIB, 2 * GIB, 3 * GIB, 2 * GIB, 3 * GIB, 2 * GIB, 3 * GIB],
        [2 * GIB + n * MIB for n in range(8)],  # too little
        [2 * GIB, 2 * GIB + 100 * MIB, 2 * GIB + 200 * MIB, 2 * GIB + 300 * MIB],  # too few
        [3 * GIB - n * 100 * MIB for n in range(8)],
        [
            2 * GIB,
            *[2 * GIB + n * 100 * MIB for n in range(1, 4)],
            None,
            3 * GIB,
            3 * GIB + 99,
            None,
        ],
    ],
)
def test_what_does_not_grow_steadily_is_no_leak(floors: list[int | None]) -> None:
    assert watched(epochs(floors), FIXED) == []


def test_growth_with_the_size_of_images_is_not_said_to_be_the_boxes() -> None:
    assert watched(denser(), replace(SPEC, image_size_max=960)) == []
    assert watched(denser(), None) == []


# ---------------------------------------------------------------- ranks, host, device, forecast


def standing(step: int, phase: str = "backward", since: float = 0.0, at: float = 1000.0) -> Track:
    moved = window(since, step=step)
    return fold(Track(), (moved, window(at, step=step, steps=0, phase=phase)))


def test_the_rank_that_stands_behind_is_named() -> None:
    ranks = {0: standing(41), 1: standing(40), 2: standing(41)}
    found = wedged_rank(ranks, 1000.0, T)
    assert found is not None
    assert found.sentence.startswith("Rank 1 has stood at batch 40 in backward for 16 min 40 s")
    same = {0: standing(41), 1: standing(41, "data"), 2: standing(41)}
    found = wedged_rank(same, 1000.0, T)
    assert found is not None
    assert found.sentence.startswith("Rank 1 has stood at batch 41 in data")


@pytest.mark.parametrize(
    "ranks",
    [
        {},
        {0: standing(40)},
        {0: standing(41), 1: standing(41)},
        {0: standing(41), 1: standing(40, since=900.0)},  # not long enough
        {0: standing(41, "validation"), 1: standing(40)},  # for the first rank alone
        {0: standing(41), 1: Track()},
    ],
)
def test_ranks_of_which_none_is_known_to_be_behind_are_not_wedged(ranks: dict[int, Track]) -> None:
    assert wedged_rank(ranks, 1000.0, T) is None


def host_track(held: list[int | None]) -> HostTrack:
    track = HostTrack()
    for number, each in enumerate(held):
        track = fold_host(track, RunHost(resident_bytes=each), 15.0 * number, T)
    return track


def test_a_steady_growth_of_the_hosts_memory_is_a_leak() -> None:
    assert host_leak(host_track([GIB + n * 5 * MIB for n in range(200)]), T) is not None
    for harmless in (
        [GIB] * 200,
        [GIB + n * 5 * MIB for n in range(60)],  # too short
        [GIB + n % 50 * 20 * MIB for n in range(200)],  # saws
        [GIB + n * MIB // 10 for n in range(200)],  # too little
        [*[GIB + n * 5 * MIB for n in range(120)], *[None] * 60, 3 * GIB],  # a hole
    ):
        assert host_leak(host_track(harmless), T) is None


def test_little_shared_memory_matters_to_workers_alone() -> None:
    full = RunHost(shm_used_bytes=63 * MIB, shm_capacity_bytes=64 * MIB)
    assert shared_memory(full, replace(SPEC, workers=8), T) is not None
    assert shared_memory(full, replace(SPEC, workers=0), T) is None
    assert shared_memory(full, replace(SPEC, workers=None), T) is None
    assert shared_memory(replace(full, shm_used_bytes=None), replace(SPEC, workers=8), T) is None
    assert shared_memory(None, replace(SPEC, workers=8), T) is None


def test_critical_errors_and_forecasts() -> None:
    found = device_fault(DeviceReading(1, last_xid=79), 2)
    assert found is not None
    assert found.sentence.startswith(
        "GPU 1 has had 2 critical errors since this attempt began, the"
    )
    assert device_fault(DeviceReading(1), 0) is None
    assert device_fault(DeviceReading(1), None) is None
    likely = Outlook("validation", 20 * GIB, 22 * GIB, 0.6, 20 * GIB)
    assert forecast(likely, T) is not None
    for unlikely in (None, replace(likely, probability=0.4), replace(likely, probability=None)):
        assert forecast(unlikely, T) is None


# ---------------------------------------------------------------- bad input


def test_a_step_or_a_counter_that_goes_back_begins_anew() -> None:
    windows = leaking()
    for number, broken in enumerate(windows):
        if number % 20 == 19:  # the process was started again under the same number
            windows[number] = replace(broken, place=replace(broken.place, step=0))
    assert watched(windows, FIXED) == []
    retried = [window(float(at), retries=60 - at) for at in range(60)]
    assert watched(retried) == []


def test_a_clock_that_steps_back_makes_everything_begin_anew() -> None:
    finding = Finding(Kind.NEAR_OOM, "near", (), 30.0)
    vigil, change = sustained.fold(Vigil(), [finding], 1000.0, 600.0)
    vigil, change = sustained.fold(vigil, [finding], 5.0, 600.0)
    for at in range(6, 35):
        vigil, change = sustained.fold(vigil, [finding], float(at), 600.0)
        assert opened(change) == []
    vigil, change = sustained.fold(vigil, [finding], 35.0, 600.0)
    assert opened(change) == [Kind.NEAR_OOM]
    vigil, change = sustained.fold(vigil, [finding], 1.0, 600.0)
    assert opened(change) == [], "it was said, and holds"


def test_a_capacity_that_changes_is_that_of_its_window() -> None:
    """A limit edited, MIG or MPS: what was near is near no more, and the other way round."""
    grown = [near(float(at), capacity=CAPACITY if at < 20 else 2 * CAPACITY) for at in range(100)]
    assert watched(grown) == []
    shrunk = [
        window(float(at), capacity=CAPACITY if at < 50 else 12 * GIB + 1) for at in range(100)
    ]
    assert watched(shrunk) == [(80.0, Kind.NEAR_OOM)]


PARTS = {
    "at": None,
    **{f"place.{each.name}": None for each in fields(Place)},
    **{f"memory.{each.name}": None for each in fields(Memory)},
    "allocated_min_bytes": None, "allocated_max_bytes": None, "steps": None,
}  # fmt: skip
TROUBLED = {
    "near": [near(float(at)) for at in range(60)],
    "thrashing": [window(float(at), retries=at) for at in range(40)],
    "pieces": [
        window(float(at), split=6 * GIB, reserved=round(0.98 * CAPACITY)) for at in range(90)
    ],
    "leaking": leaking(),
    "denser": denser(),
    "healthy": [window(float(at)) for at in range(60)],
}


def unknown(sample: Sample, part: str) -> Sample:
    whole, _, name = part.partition(".")
    if name:
        return replace(sample, **{whole: replace(getattr(sample, whole), **{name: None})})
    return sample if part == "at" else replace(sample, **{part: None})


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(TROUBLED)),
    st.sampled_from(sorted(PARTS)),
    st.integers(1, 7),
    st.integers(0, 6),
    st.sampled_from([None, FIXED, replace(FIXED, device=None), replace(FIXED, image_size=None)]),
)
def test_what_is_not_known_never_makes_a_run_look_worse(
    name: str, part: str, every: int, first: int, spec: RunSpec | None
) -> None:
    """Holes of any kind, in any pattern: nothing is said that was not said without them."""
    windows = TROUBLED[name]
    holed = [
        unknown(each, part) if number % every == first % every else each
        for number, each in enumerate(windows)
    ]
    dropped = [each for number, each in enumerate(windows) if number % every != first % every]
    known = set(kinds(watched(windows, FIXED)))
    for less in (holed, dropped):
        found = set(kinds(watched(less, spec)))
        event(f"{len(known)} to {len(found)}")
        assert found <= known, (found, known)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e6), st.integers(-1, 9), st.integers(0, 50), st.integers(0, 1 << 50),
            st.one_of(st.none(), st.integers(0, 1 << 50)), st.integers(0, 9),
        ),
        max_size=60,
    )
)  # fmt: skip
def test_any_windows_are_folded(raw: list[tuple[float, int, int, int, int | None, int]]) -> None:
    for at, epoch, step, used, capacity, retries in raw:
        each = window(at, epoch=epoch, step=step, low=used // 2, high=used, capacity=capacity)
        track = fold(Track(), (each, replace(each, memory=Memory(retries=retries))))
        assert len(track.epochs) <= 1
    windows = [
        window(at, epoch=epoch, step=step, low=used // 2, high=used, capacity=capacity)
        for at, epoch, step, used, capacity, _ in raw
    ]
    watched(windows, FIXED)
