"""The lever `more gpus`: a training on one device resumes on idle ones too, or why it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decide.build import GIB, SPEC, failed, linear_footprints, state
from yolowatch.daemon.mismatch import mismatch
from yolowatch.decide import opt_in, spreading
from yolowatch.decide.budget import AttemptHistory
from yolowatch.decide.detect import classify
from yolowatch.decide.forecast import Laws, fit
from yolowatch.decide.planner import plan
from yolowatch.decide.waiting import room_for
from yolowatch.model.device import DeviceReading, DeviceUser
from yolowatch.model.plan import LEVERS, Edits, Plan, Policy, Refusal, Start
from yolowatch.model.receipt import ResumePoint, science_notes
from yolowatch.model.run import Rank, RunSpec, RunState
from yolowatch.model.surroundings import Around
from yolowatch.model.verdict import Verdict

GPU = "NVIDIA L4"
ALONE = replace(
    SPEC, gpu=GPU, gpu_number=0, renumbered=False, spawnable=True, cache="none", freezable=10
)
RANK = Rank(0, 2, 2, 0)
NAMED = Policy(levers=("more gpus",))
LAW = (8 * GIB, 16 * GIB / (16 * 640**2))  # fixed, for each pixel: 24 GiB at batch 16


def reading(index: int, **changes: Any) -> DeviceReading:
    """An idle device."""
    told = DeviceReading(
        index,
        name=GPU,
        total_bytes=24 * GIB,
        used_bytes=GIB // 100,
        free_bytes=23 * GIB,
        utilization_ratio=0.0,
        users=(),
        xids=0,
    )
    return replace(told, **changes)


def own(index: int = 0) -> DeviceReading:
    return reading(index, users=(DeviceUser(10),), used_bytes=23 * GIB, utilization_ratio=0.9)


def beside(*others: DeviceReading, mine: int = 0) -> Around:
    """What was seen around a training on device `mine`."""
    found = sorted((own(mine), *others), key=lambda each: each.index)
    return Around(device=own(mine), devices=tuple(found))


IDLE = beside(reading(1), reading(2), reading(3))


def out_of_memory(spec: RunSpec = ALONE, law: tuple[int, float] = LAW) -> RunState:
    batch = spec.batch or 16
    words = failed(batch=batch, allocated=22 * GIB, requested=2 * GIB)
    prints = linear_footprints(*law, [(1, 640), (batch, 640)])
    return replace(state(words, prints), spec=spec)


def decide(
    run: RunState,
    around: Around = IDLE,
    policy: Policy = NAMED,
    earlier: Edits | None = None,
    laws: Laws | None = None,
) -> Plan | Refusal:
    verdict = classify(run, exit_status=1, exit_signal=None, asked_to_stop=False, around=around)
    spec = run.spec
    assert spec is not None
    found = plan(
        user=replace(spec, batch=16, accumulate=4),
        earlier=earlier or Edits(),
        state=run,
        verdict=verdict,
        laws=laws or fit(run),
        history=AttemptHistory().with_end(0, 11),
        policy=policy,
        incident="i-1",
        around=around,
    )
    if isinstance(found, Refusal):
        return found
    return replace(found, room=room_for(found, run, verdict, policy))


def planned(run: RunState, around: Around = IDLE, **more: Any) -> Plan:
    found = decide(run, around, **more)
    assert isinstance(found, Plan), found.reason
    return found


def why_not(run: RunState, around: Around = IDLE) -> str:
    """The one sentence for which the lever is refused."""
    found = decide(run, around)
    assert isinstance(found, Refusal)
    (reason,) = (each.reason for each in found.rejected if each.option == "more gpus")
    return reason


def test_it_is_off_unless_it_is_named() -> None:
    run = out_of_memory()
    for policy in (Policy(), Policy(levers=("batch",)), Policy(levers=LEVERS)):
        assert planned(run, policy=policy).edits.more_gpus is None
    assert planned(run).edits.more_gpus == (0, 1)


def test_two_devices_share_the_same_batch() -> None:
    run = out_of_memory()
    chosen = planned(run)
    assert [use.name for use in chosen.levers] == ["more gpus"]
    assert chosen.ranks == 2
    assert (chosen.edits.batch, chosen.edits.nbs, chosen.effective_batch) == (16, 64, 64)
    law = fit(run).training
    assert law is not None
    assert SPEC.parameter_bytes is not None
    share = law.peak_bytes(8 * 640**2)
    assert chosen.predicted_peak_bytes == share + SPEC.parameter_bytes, "what `one gpu` saves"
    assert "8 in each of 2 ranks" in chosen.reason


def test_the_relaunch_waits_until_they_are_idle_still() -> None:
    chosen = planned(out_of_memory())
    room = chosen.room
    assert room is not None
    assert (room.device_index, room.beside, room.proof) == (0, (1,), True)
    assert room.free_bytes == chosen.predicted_peak_bytes
    # A later plan of the same ranks asks for no more than other plans do.
    spread = replace(out_of_memory(), attempt=1)
    again = room_for(
        replace(chosen, room=None), replace(spread, rank=RANK), classified(spread), NAMED
    )
    assert again is not None
    assert (again.beside, again.proof) == ((), False)


def classified(run: RunState) -> Verdict:
    return classify(run, exit_status=1, exit_signal=None, asked_to_stop=False, around=IDLE)


def test_where_two_are_too_few_four_share_it() -> None:
    run = out_of_memory(law=(4 * GIB, 64 * GIB / (16 * 640**2)))
    chosen = planned(run)
    assert chosen.edits.more_gpus == (0, 1, 2, 3)
    assert chosen.ranks == 4
    found = decide(run, beside(reading(1), reading(2)))
    assert isinstance(found, Refusal)
    assert any("with more gpus" in each.option for each in found.rejected)


def test_its_own_device_comes_first_whatever_its_number() -> None:
    run = out_of_memory(replace(ALONE, gpu_number=2))
    chosen = planned(run, beside(reading(0), reading(1), mine=2))
    assert chosen.edits.more_gpus == (2, 0)
    assert chosen.room is not None
    assert (chosen.room.device_index, chosen.room.beside) == (2, (0,))


def test_a_model_too_large_saves_nothing_by_it() -> None:
    large = replace(ALONE, parameter_bytes=12 * GIB)
    found = decide(out_of_memory(large), IDLE, laws=fit(out_of_memory()))
    assert isinstance(found, Refusal)
    assert any(
        "with more gpus" in each.option and "is predicted at" in each.reason
        for each in found.rejected
    )


def test_a_smaller_batch_on_one_device_comes_first() -> None:
    chosen = planned(out_of_memory(), policy=Policy(levers=("batch", "more gpus")))
    assert [use.name for use in chosen.levers] == ["batch"]
    assert (chosen.edits.more_gpus, chosen.ranks) == (None, 1)


def test_it_comes_before_what_alters_the_result() -> None:
    run = out_of_memory(replace(ALONE, precision="fp32", autocast="bf16"))
    chosen = planned(run, policy=Policy(levers=("amp", "freeze", "more gpus")))
    assert [use.name for use in chosen.levers] == ["more gpus"]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"trainer": "yolov5"}, "several devices are torchrun's"),
        ({"trainer": "yolov9"}, "several devices are torchrun's"),
        ({"device": "cpu"}, "not on a CUDA device"),
        ({"device": None}, "not on a CUDA device"),
        ({"entry": "script"}, "a program of the user's own"),
        ({"cache": "ram"}, "each rank would cache all of them"),
        ({"cache": None}, "each rank would cache all of them"),
        ({"spawnable": False}, "it lacks the package cloudpickle, or trains with rect=True"),
        ({"spawnable": None}, "cannot spawn ranks"),
        ({"parameter_bytes": None}, "how large its gradients are is not known"),
        ({"batch": 15}, "cannot be shared in equal parts"),
        ({"renumbered": True}, "CUDA_VISIBLE_DEVICES or CUDA_DEVICE_ORDER"),
        ({"renumbered": None}, "how the training numbers its devices is not known"),
        ({"gpu_number": None}, "how the training numbers its devices is not known"),
        ({"gpu_number": 1}, "the driver saw it on device 0, and it calls its device 1"),
        ({"gpu": "NVIDIA L4 MIG 1g.6gb"}, "not known to be all alike"),
        ({"gpu": None}, "not known to be all alike"),
    ],
)
def test_what_a_run_is_may_forbid_it(changes: dict[str, Any], part: str) -> None:
    spec = replace(ALONE, **changes)
    found = spreading.devices(spec, IDLE)
    (rejected,) = opt_in.rejected(spec, Edits(), ("more gpus",), 1, found)
    assert part in rejected.reason
    if spec.trainer == "ultralytics":
        assert list(opt_in.sets(spec, Edits(), ("more gpus",), 1, found)) == []
    if spec.device == "cuda:0":  # else it is no failure of a device
        assert part in why_not(out_of_memory(spec))


@pytest.mark.parametrize(
    ("around", "part"),
    [
        (Around(), "too old or missing"),
        (replace(IDLE, devices=None), "too old or missing"),
        (replace(IDLE, device=None), "did not tell on which device it computes"),
        (beside(), "there is no other device"),
        (beside(reading(1, name="NVIDIA A10")), "not known to be all alike"),
        (beside(reading(1), reading(2, name=None)), "not known to be all alike"),
        (beside(reading(1, total_bytes=48 * GIB)), "not known to be all alike"),
        (beside(reading(1), reading(2, total_bytes=None)), "not known to be all alike"),
        (beside(reading(1, users=(DeviceUser(99),))), "no other device is known to be idle"),
        (beside(reading(1, users=None)), "no other device is known to be idle"),
        (beside(reading(1, used_bytes=GIB)), "no other device is known to be idle"),
        (beside(reading(1, used_bytes=None)), "no other device is known to be idle"),
        (beside(reading(1, utilization_ratio=None)), "no other device is known to be idle"),
        (beside(reading(1, xids=1)), "no other device is known to be idle"),
        (beside(reading(1, xids=None)), "no other device is known to be idle"),
        (beside(reading(1, answers=False)), "no other device is known to be idle"),
    ],
)
def test_what_the_driver_says_may_forbid_it(around: Around, part: str) -> None:
    assert part in why_not(out_of_memory(), around)


def test_a_run_of_several_ranks_is_not_spread() -> None:
    reason = spreading.obstacle(ALONE, Edits(), 2, (0, 1))
    assert reason is not None
    assert "several ranks already" in reason
    assert spreading.obstacle(ALONE, Edits(one_gpu=2), 1, (0, 1)) == reason
    assert list(spreading.sets(ALONE, Edits(), 2, (0, 1))) == []


def test_what_is_spread_is_neither_spread_again_nor_put_onto_one_device() -> None:
    earlier = Edits(batch=16, nbs=64, weight_decay=0.0005, more_gpus=(0, 1))
    named = ("more gpus", "one gpu")
    assert list(opt_in.sets(ALONE, earlier, named, 2, (0, 1, 2, 3))) == []
    (rejected,) = opt_in.rejected(ALONE, earlier, named, 2, (0, 1, 2, 3))
    assert rejected.option == "one gpu"
    assert "has spread the training" in rejected.reason
    words = failed(batch=8, allocated=22 * GIB, requested=2 * GIB)
    prints = linear_footprints(8 * GIB, 16 * GIB / (8 * 640**2), [(1, 640), (8, 640)])
    run = replace(state(words, prints, attempt=1), spec=ALONE, rank=RANK)
    again = planned(run, policy=Policy(levers=("batch", *named)), earlier=earlier)
    assert [use.name for use in again.levers] == ["batch"]
    assert (again.edits.more_gpus, again.ranks) == ((0, 1), 2)
    assert again.edits.batch is not None
    assert again.edits.batch % 2 == 0


def test_the_receipt_says_what_it_does_to_the_science() -> None:
    point = ResumePoint(Start.RESUME, "it is whole", epoch=3)
    chosen = planned(out_of_memory())
    notes = science_notes(ALONE, chosen, point, retried=False)
    assert any(note.startswith("2 devices share each batch, which one trained") for note in notes)
    smaller = replace(chosen, edits=replace(chosen.edits, batch=8))
    notes = science_notes(ALONE, smaller, point, retried=False)
    assert any("over 4 images at a time instead of 16, in each rank." in note for note in notes)


@pytest.mark.parametrize(("ranks", "found"), [(1, True), (2, False), (4, True)])
def test_another_number_of_ranks_is_seen(ranks: int, found: bool) -> None:
    said = mismatch(Edits(more_gpus=(0, 1)), SPEC, SPEC, ranks=ranks)
    assert said == (f"it is made of {ranks} ranks instead of 2" if found else None)


DEVICE = st.builds(
    reading,
    st.integers(1, 3),
    users=st.sampled_from([None, (), (DeviceUser(99),)]),
    used_bytes=st.sampled_from([None, 0, GIB // 100, 4 * GIB]),
    utilization_ratio=st.sampled_from([None, 0.0, 0.7]),
    xids=st.sampled_from([None, 0, 2]),
    name=st.sampled_from([None, GPU, GPU, GPU]),
)
UNKNOWN = ("users", "used_bytes", "utilization_ratio", "xids", "name", "total_bytes")


@given(
    st.lists(DEVICE, max_size=3, unique_by=lambda each: each.index),
    st.integers(0, 2),
    st.sampled_from(UNKNOWN),
)
def test_what_the_driver_does_not_tell_never_frees_a_device(
    others: list[DeviceReading], which: int, name: str
) -> None:
    known = spreading.devices(ALONE, beside(*others))
    if which < len(others):
        others[which] = replace(others[which], **{name: None})
    unknown = spreading.devices(ALONE, beside(*others))
    if isinstance(known, str):
        assert isinstance(unknown, str)
    elif not isinstance(unknown, str):
        assert set(unknown) <= set(known)
