"""The levers that must be named: never without it, a sentence where they are not to be had."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given

from tests.decide.build import GIB, MIB, SPEC, failed, linear_footprints, state
from tests.decide.test_combining import ABLE, tight
from tests.decide.test_planner import RUNS, decide, planned, refused, user_of
from yolowatch.daemon.mismatch import mismatch
from yolowatch.decide import opt_in
from yolowatch.decide.combining import combinations
from yolowatch.decide.forecast import fit
from yolowatch.model.opt_in import NEVER, OPT_IN, opt_in_notes
from yolowatch.model.plan import COSTS, LEVERS, Cost, Edits, Plan, Policy, Start
from yolowatch.model.receipt import ResumePoint, science_notes
from yolowatch.model.run import Rank, RunSpec, RunState
from yolowatch.trainers.families import FAMILIES

FULL = replace(ABLE, freezable=11, frozen=0, pruned=0.0, prunable=True, eight_bit=True)
ABLE_TO_ALL = replace(FULL, cache="none", spawnable=True)
FIELDS = ("freeze", "image_size", "pruning", "optimizer_bits", "one_gpu", "more_gpus")


def named(*levers: str) -> Policy:
    return Policy(levers=levers)


def full(**more: Any) -> RunState:
    """Fails at batch 1, and has every lever that there is."""
    able = {name: getattr(FULL, name) for name in ("freezable", "frozen", "prunable", "eight_bit")}
    return tight(**{**able, "pruned": 0.0, **more})


USER = replace(FULL, batch=1, accumulate=64, image_size_max=640, multi_scale=0.0)


def test_they_are_none_of_the_default() -> None:
    assert not set(OPT_IN) & set(Policy().levers)
    assert not set(OPT_IN) & set(COSTS)
    assert not set(NEVER) & {*OPT_IN, *COSTS}
    kept = {lever for lever, cost in OPT_IN.items() if cost is not Cost.ALTERS_RESULT}
    assert kept == {"one gpu", "more gpus"}, "other devices compute the same"


def test_without_a_name_there_is_no_set_with_them() -> None:
    for each in combinations(FULL, Edits(), LEVERS):
        assert all(getattr(each.edits, field) is None for field in FIELDS)


@given(RUNS)
def test_no_plan_has_them_without_a_name(run: RunState) -> None:
    assert run.spec is not None
    able = {name: getattr(FULL, name) for name in ("freezable", "prunable", "eight_bit")}
    run = replace(run, spec=replace(run.spec, **able))
    decision = decide(run, user=replace(user_of(run), **able))
    if isinstance(decision, Plan):
        assert all(getattr(decision.edits, field) is None for field in FIELDS)


@pytest.mark.parametrize("trainer", FAMILIES)
def test_every_trainer_has_each_or_a_reason(trainer: Any) -> None:
    for lever in (*COSTS, *OPT_IN):
        assert (lever in trainer.LEVERS) != (lever in trainer.REFUSED)


@pytest.mark.parametrize(
    ("lever", "change", "part"),
    [
        ("8-bit optimizer", {"eight_bit": False}, "bitsandbytes is not in the trainer's Python"),
        ("8-bit optimizer", {"eight_bit": None}, "bitsandbytes is not in the trainer's Python"),
        ("8-bit optimizer", {"optimizer": "MuSGD"}, "no 8-bit form of the optimizer MuSGD"),
        ("8-bit optimizer", {"trainer": "yolov5"}, "only Ultralytics' optimizer"),
        (
            "8-bit optimizer",
            {"optimizer_state_bytes": None},
            "how large the optimizer's state is, is not known",
        ),
        ("pruning", {"prunable": False}, "torch-pruning is not in the trainer's Python"),
        ("pruning", {"trainer": "yolov9"}, "loads no pruned one"),
        ("freeze", {"freezable": None}, "does not say which of its layers"),
        ("freeze", {"frozen": 11}, "frozen already"),
        ("image size", {"stride": None}, "the image size is not known"),
        ("one gpu", {}, "the training is on one device already"),
        ("one gpu", {"trainer": "yolov5"}, "those of torchrun"),
    ],
)
def test_what_is_not_to_be_had_says_why(lever: str, change: dict[str, Any], part: str) -> None:
    user = replace(USER, **change)
    (found,) = opt_in.rejected(user, Edits(), (lever,))
    assert (found.option, part in found.reason) == (lever, True)
    assert [each.title for each in opt_in.sets(user, Edits(), (lever,))] == []
    run = full()
    assert run.spec is not None
    run = replace(run, spec=replace(run.spec, **change))
    assert found in refused(run, user=user, policy=named(lever)).rejected


def test_a_smaller_image_is_the_largest_that_fits() -> None:
    words = failed(batch=1, allocated=22 * GIB, requested=2 * GIB)
    prints = linear_footprints(8 * GIB, 39000.0, [(1, 480), (1, 640)])
    run = state(words, prints, batch=1)
    chosen = planned(run, user=USER, policy=named("image size"))
    assert [(use.name, use.cost) for use in chosen.levers] == [("image size", Cost.ALTERS_RESULT)]
    size = chosen.edits.image_size
    assert size is not None
    assert size % 32 == 0
    law = fit(run).training
    assert law is not None
    assert chosen.predicted_peak_bytes == law.peak_bytes(size**2)
    assert chosen.capacity_bytes is not None
    limit = 0.95 * chosen.capacity_bytes
    assert chosen.predicted_peak_bytes <= limit < law.peak_bytes((size + 32) ** 2)
    assert chosen.edits == Edits(image_size=size, image_size_before=640)


def shared(batch: int) -> RunState:
    """Two ranks of which one fails, with a batch of so many images in all."""
    words = failed(batch=batch // 2, allocated=22 * GIB, requested=2 * GIB)
    each = [(1, 640), (batch // 2, 640)]
    prints = linear_footprints(8 * GIB, 16 * GIB / (batch // 2 * 640**2), each)
    told = state(words, prints, batch=batch, accumulate=64 // batch, image_size_max=640)
    return replace(told, rank=Rank(1, 2, 2, 0))


def test_one_device_has_no_more_than_each_had() -> None:
    run = shared(16)
    user = replace(SPEC, batch=16, accumulate=4)
    chosen = planned(run, user=user, policy=named("one gpu"))
    assert [use.name for use in chosen.levers] == ["one gpu", "batch"]
    assert (chosen.edits.one_gpu, chosen.ranks) == (2, 1)
    batch = chosen.edits.batch
    assert batch is not None
    assert batch <= 8
    assert chosen.edits.nbs == chosen.effective_batch == 64
    law = fit(run).training
    assert law is not None
    saved = SPEC.parameter_bytes
    assert saved is not None
    assert chosen.predicted_peak_bytes == law.peak_bytes(batch * 640**2) - saved
    point = ResumePoint(Start.RESUME, "it is whole", epoch=3)
    notes = science_notes(user, chosen, point, retried=False)
    assert any(note.startswith("One device trains alone what 2 shared") for note in notes)
    assert any(f"over {batch} images at a time instead of 8." in note for note in notes)


def test_one_device_that_fails_again_gets_less() -> None:
    """What fits there is part of the lever: the policy names no other."""
    earlier = Edits(batch=8, nbs=64, weight_decay=0.0005, one_gpu=2)
    run = replace(shared(16), rank=None)
    assert run.spec is not None
    run = replace(run, spec=replace(run.spec, batch=8, accumulate=8))
    user = replace(SPEC, batch=16, accumulate=4)
    chosen = planned(run, user=user, earlier=earlier, policy=named("one gpu"))
    assert [use.name for use in chosen.levers] == ["batch"]
    assert chosen.edits.batch is not None
    assert chosen.edits.batch < 8
    assert (chosen.edits.one_gpu, chosen.ranks) == (2, 1)


def test_a_smaller_batch_on_all_devices_comes_before_one_device() -> None:
    user = replace(SPEC, batch=16, accumulate=4)
    chosen = planned(shared(16), user=user, policy=named("one gpu", "batch"))
    assert [use.name for use in chosen.levers] == ["batch"]
    assert (chosen.edits.one_gpu, chosen.ranks) == (None, 2)


def test_no_image_is_smaller_than_half_of_the_users() -> None:
    earlier = Edits(image_size=352, image_size_before=640)
    sizes = [
        each.edits.image_size
        for each in opt_in.sets(replace(USER, image_size=352), earlier, ("image size",))
    ]
    assert sizes == [320]


def test_where_nothing_is_known_the_number_of_pixels_is_halved() -> None:
    run = state(failed(batch=16))  # no batch was measured
    chosen = planned(run, policy=named("image size"))
    assert chosen.edits.batch is None
    assert chosen.edits.image_size == 448  # 0.49 of the pixels of 640


def test_an_eight_bit_state_saves_what_it_is_known_to() -> None:
    prints = linear_footprints(21 * GIB, 3000.0, [(1, 480), (1, 640)])
    words = failed(batch=1, allocated=22 * GIB, requested=GIB)
    spec = {"optimizer_state_bytes": 8 * GIB, "eight_bit": True, "optimizer": "AdamW"}
    run = state(words, prints, batch=1, **spec)
    chosen = planned(run, user=USER, policy=named("8-bit optimizer"))
    assert chosen.edits == Edits(optimizer_bits=8)
    little = state(words, prints, batch=1, **{**spec, "optimizer_state_bytes": MIB})
    assert "cannot fit" in refused(little, user=USER, policy=named("8-bit optimizer")).reason


def test_it_answers_a_failed_first_step_of_the_optimizer() -> None:
    words = failed(phase="optimizer", batch=16, allocated=22 * GIB, requested=GIB)
    spec = {"optimizer_state_bytes": 12 * GIB, "eight_bit": True, "optimizer_state_exists": False}
    prints = linear_footprints(2 * GIB, 2000.0, [(16, 640)])[:-1]  # it has made no step
    run = state(words, prints, **spec)
    assert planned(run, policy=named("8-bit optimizer")).edits == Edits(optimizer_bits=8)


@pytest.mark.parametrize("lever", ["freeze", "pruning"])
def test_the_others_are_taken_alone(lever: str) -> None:
    prints = linear_footprints(2 * GIB, 57000.0, [(1, 480), (1, 640)])
    run = full()
    run = replace(run, footprints=prints)
    edits = planned(run, user=USER, policy=named(lever)).edits
    assert edits in (Edits(freeze=11), Edits(pruning=0.25))


def test_they_come_after_the_others_and_then_together() -> None:
    policy = (*LEVERS, *OPT_IN)
    for ranks, place in ((2, "one gpu"), (1, "more gpus")):
        found = list(combinations(ABLE_TO_ALL, Edits(), policy, ranks, (0, 1)))
        titles = [each.title for each in found]
        named = {lever for lever, cost in OPT_IN.items() if cost is Cost.ALTERS_RESULT}
        altering = [any(name in title for name in named) for title in titles]
        others = [title for title, named in zip(titles, altering, strict=True) if not named]
        assert altering[: len(others)] == [False] * len(others)
        assert titles[:4] == ["", "checkpointing", place, f"checkpointing and {place}"]
        assert [each.alters for each in found] == sorted(each.alters for each in found)
        assert len(titles) == len({each.edits for each in found}) < 3000
        assert any(all(name in title for name in {*named, place}) for title in titles)
        assert not any("one gpu" in title and "more gpus" in title for title in titles)


def test_what_is_in_force_is_not_taken_again() -> None:
    earlier = Edits(freeze=11, pruning=0.25, optimizer_bits=8)
    allowed = ("freeze", "pruning", "8-bit optimizer")
    assert list(opt_in.sets(FULL, earlier, allowed)) == []


@pytest.mark.parametrize(
    ("edits", "told", "part"),
    [
        (Edits(freeze=11), {"frozen": 4}, "its first 4 layers are frozen instead of 11"),
        (Edits(image_size=320), {"image_size": 640}, "its image size is 640 instead of 320"),
        (Edits(pruning=0.25), {"pruned": 0.0}, "its model is not pruned"),
        (Edits(optimizer_bits=8), {"optimizer": "SGD"}, "its optimizer is SGD"),
        (Edits(freeze=11), {"frozen": 11}, None),
        (Edits(freeze=11), {"frozen": None}, None),
        (Edits(image_size=320), {"image_size": 320}, None),
        (Edits(pruning=0.25), {"pruned": 0.2}, None),
        (Edits(optimizer_bits=8), {"optimizer": "SGD8bit"}, None),
        (Edits(one_gpu=2), {}, None),
    ],
)
def test_a_lever_that_is_not_in_force_is_seen(
    edits: Edits, told: dict[str, Any], part: str | None
) -> None:
    found = mismatch(edits, SPEC, replace(SPEC, **told))
    assert (found is None) if part is None else part in (found or "")


def test_ranks_that_are_still_there_are_seen() -> None:
    found = mismatch(Edits(one_gpu=2), SPEC, SPEC, ranks=2)
    assert found == "it is still made of 2 ranks"
    assert mismatch(Edits(), SPEC, SPEC, ranks=2) is None


def test_each_says_what_it_does_to_the_science() -> None:
    every = Edits(freeze=11, image_size=320, pruning=0.25, optimizer_bits=8)
    notes = opt_in_notes(RunSpec(**asdict(FULL)), every)
    assert len(notes) == 4
    assert all("this alters the result" in note for note in notes)
    assert opt_in_notes(FULL, Edits(batch=4)) == []
