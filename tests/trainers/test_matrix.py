"""Each place where memory can run out, with each trainer: it finishes by itself.

Every cell tells what it cost, from inside the trainer; `make trainers` runs them all, prints them
as a matrix and records it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.scene import PROGRAMS, Scene
from tests.trainers.test_callbacks_family import DATA, small_scene, training
from tests.trainers.test_places import (
    check_finished,
    check_nothing_lost,
    fail_at,
    validated_on_all,
)

pytestmark = [pytest.mark.trainers, pytest.mark.slow]

TRAINERS = ("ultralytics command", "ultralytics script", "yolov5", "yolov9", "yolov9 dual")
LATER, FIRST_STEP, VALIDATION, SAVE, BEFORE = PLACES = (
    "forward in a later epoch",
    "first optimizer step",
    "validation",
    "checkpoint save",
    "before any checkpoint",
)
SLICE = {
    ("ultralytics script", FIRST_STEP),
    ("yolov9 dual", VALIDATION),
}
# What is left of the memory that validation would take, in MiB.
ROOM = {"ultralytics command": "50", "ultralytics script": "50"}
# Networks of which a batch takes more; validation is calibrated for the small ones.
LARGER = {"yolov5": "yolov5n.yaml", "yolov9": str(DATA / "yolov9-blocks.yaml")}
# The small one's layers fit into what is free in pieces, as copies and as the optimizer's state.
WIDER = {"yolov9-dual": str(DATA / "yolov9-dual-wide.yaml")}

Facts = list[dict[str, Any]]


def started(
    trainer: str, place: str, scene: Scene, tmp_path: Path
) -> tuple[Scene, tuple[str, ...]]:
    """The scene of one trainer and the command that trains three epochs there."""
    if trainer.startswith("ultralytics"):
        validated_on_all(scene)
        # What a process takes after its first epoch is to be small beside what a batch takes.
        size = 224 if place in (LATER, BEFORE) else 160
        settings = ("batch=16", "epochs=3", f"imgsz={size}")
        if trainer == "ultralytics command":
            return scene, scene.yolo(*settings, "val=True")
        program = (str(scene.python), str(PROGRAMS / "plain.py"))
        where = (str(scene.data), str(scene.root / "runs"))
        return scene, (*program, *where, *settings, "multi_scale=0.0", "warmup_epochs=0")
    scene = small_scene(trainer.partition(" ")[0], tmp_path)
    program = trainer.replace(" ", "-")
    command = training(scene, program, "--batch", "16")
    if place == VALIDATION:
        return scene, command
    network = LARGER.get(program) or (WIDER.get(program) if place in (FIRST_STEP, SAVE) else None)
    return scene, (*command, *(("--cfg", network) if network else ()))


def failing(trainer: str, place: str, scene: Scene) -> dict[str, str]:
    """The variables that make it fail there."""
    if place in (LATER, BEFORE):
        epoch, part = (1, "0.5") if place == LATER else (0, "0.75")
        return fail_at(scene, "forward", epoch, FAIL_BATCH="2", PART=part)
    if place == FIRST_STEP:
        # The older family steps after its first batch, Ultralytics after the fourth.
        return fail_at(scene, "optimizer", 1 if trainer.startswith("ultralytics") else 0)
    if place == VALIDATION:
        return fail_at(scene, "validation", 1, ROOM=ROOM.get(trainer, "40"))
    return fail_at(scene, "save", 1)


@pytest.mark.parametrize(
    ("trainer", "place"),
    [
        pytest.param(trainer, place, marks=[pytest.mark.slice] * ((trainer, place) in SLICE))
        for trainer in TRAINERS
        for place in PLACES
    ],
)
@pytest.mark.timeout(400)
def test_it_finishes_by_itself(
    trainer: str,
    place: str,
    tmp_path: Path,
    scene: Scene,
    record_property: Callable[[str, object], None],
) -> None:
    scene, command = started(trainer, place, scene, tmp_path)
    done = scene.run(scene.supervised(command), failing(trainer, place, scene), seconds=380)
    shown = check_finished(scene, done)
    facts = scene.facts()
    CHECKS[place](scene, shown, facts)
    lost, repeated = cost(facts, shown)
    assert sum(receipt["costs"]["steps_lost"] for receipt in shown["receipts"]) == lost
    told = {
        "trainer": trainer,
        "place": place,
        "attempts": len(shown["attempts"]),
        "levers": [use["name"] for receipt in shown["receipts"] for use in receipt["levers"]],
        "batch": facts[-1]["batch"],
        "validation_batch": facts[-1]["validation_batch"],
        "steps_lost": lost,
        "steps_repeated": repeated,
        "seconds_lost": sum(each["costs"]["seconds_lost"] for each in shown["receipts"]),
    }
    record_property("cell", json.dumps(told))


def cost(facts: Facts, shown: Mapping[str, Any]) -> tuple[int, int]:
    """(batches whose work was thrown away, batches that did that work again), by what was trained.

    A repeated batch is one of an epoch that an earlier process had begun and that was not kept.
    """
    starts = [fact for fact in facts if fact["event"] == "on_train_start"]
    lost = repeated = 0
    for number, (failed, resumed) in enumerate(pairwise(starts)):
        emergency = shown["receipts"][number]["resume"]["emergency"]
        first = resumed["start_epoch"] + bool(emergency and emergency["complete"])
        begun = trained(facts, failed["pid"], first)
        again = trained(facts, resumed["pid"], first)
        lost += len(begun)
        furthest = max((fact["epoch"] for fact in begun), default=-1)
        repeated += sum(fact["epoch"] <= furthest for fact in again)
    return lost, repeated


def trained(facts: Facts, pid: int, first: int) -> Facts:
    """The batches that a process completed, from an epoch on."""
    ends = (fact for fact in facts if fact["event"] == "on_train_batch_end")
    return [fact for fact in ends if fact["pid"] == pid and fact["epoch"] >= first]


def second_start(facts: Facts) -> dict[str, Any]:
    return [fact for fact in facts if fact["event"] == "on_train_start"][1]


def equal_state(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (one["ema"], one["optimizer"]) == (other["ema"], other["optimizer"])


def check_later(_scene: Scene, shown: Mapping[str, Any], facts: Facts) -> None:
    """Resumed with the state that the last complete epoch left."""
    assert shown["receipts"][0]["verdict"]["where"] == "step"
    resumed = second_start(facts)
    assert resumed["start_epoch"] == 1
    saved = [f for f in facts if f["event"] == "on_val_start" and f["epoch"] == 0][-1]
    assert equal_state(resumed, saved)
    assert facts[-1]["batch"] < facts[0]["batch"]


def check_first_step(scene: Scene, shown: Mapping[str, Any], facts: Facts) -> None:
    """Nothing of what was half updated is kept."""
    receipt, resumed = shown["receipts"][0], second_start(facts)
    assert receipt["verdict"]["where"] == "first-optimizer-step"
    assert receipt["resume"]["emergency"] is None
    assert not list(scene.run_dir.glob(".yolowatch/emergency*"))
    ends = trained(facts, facts[0]["pid"], 0)
    assert resumed["start_epoch"] == max((fact["epoch"] for fact in ends), default=0)
    assert receipt["resume"]["start"] == ("resume" if resumed["start_epoch"] else "afresh")
    if resumed["start_epoch"]:
        saved = next(f for f in facts if f["event"] == "on_val_start" and f["epoch"] == 0)
        assert equal_state(resumed, saved)


def check_validation(scene: Scene, shown: Mapping[str, Any], _facts: Facts) -> None:
    check_nothing_lost(scene, shown, 1)


def check_save(_scene: Scene, shown: Mapping[str, Any], facts: Facts) -> None:
    """The epoch is trained again from the copy in the vault: what tore is not used."""
    receipt = shown["receipts"][0]
    assert receipt["verdict"]["where"] == "save"
    assert receipt["resume"]["emergency"] is None
    assert second_start(facts)["start_epoch"] == 1


def check_before(_scene: Scene, shown: Mapping[str, Any], facts: Facts) -> None:
    """It begins afresh in the directory that it has."""
    assert shown["receipts"][0]["resume"]["start"] == "afresh"
    assert second_start(facts)["start_epoch"] == 0
    assert facts[-1]["batch"] < facts[0]["batch"]


CHECKS: dict[str, Callable[[Scene, Mapping[str, Any], Facts], None]] = {
    LATER: check_later,
    FIRST_STEP: check_first_step,
    VALIDATION: check_validation,
    SAVE: check_save,
    BEFORE: check_before,
}
