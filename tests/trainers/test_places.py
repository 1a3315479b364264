"""What is kept of an epoch that memory cuts short; the whole matrix stands in test_matrix."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.scene import Scene
from tests.trainers.test_callbacks_family import DATA, small_scene, training

pytestmark = pytest.mark.trainers

FAILING = str(Path(__file__).parent / "failing")


def fail_at(scene: Scene, place: str, epoch: int = 1, **more: str) -> dict[str, str]:
    """The variables that make the training of this scene fail there."""
    return {
        "PYTHONPATH": FAILING,
        "FAIL_AT": place,
        "FAIL_EPOCH": str(epoch),
        "LIMIT_FILE": str(scene.root / "limit"),
        "FACTS": str(scene.root / "facts.jsonl"),
        "OMP_NUM_THREADS": "1",
        **more,
    }


def validated_on_all(scene: Scene) -> None:
    """Validation on the images of training as well: there are enough for a large batch."""
    scene.data = Path(shutil.copy(scene.data, scene.data.with_name("all.yaml")))
    lines = scene.data.read_text().splitlines()
    train = next(line.partition(":")[2] for line in lines if line.startswith("train:"))
    kept = [line for line in lines if not line.startswith("val:")]
    scene.data.write_text("\n".join([*kept, f"val:{train}"]) + "\n")


def check_finished(scene: Scene, done: Any) -> dict[str, Any]:
    """It has finished, every epoch once; the document of the run."""
    assert done.returncode == 0, done.stdout[-4000:]
    # Where nothing at all is left, the state cannot be saved either, and that is told.
    faults = [line for line in done.stdout.splitlines() if "the hook failed" in line]
    assert all("emergency._save" in line for line in faults), faults
    first, *others = scene.epochs()
    assert others == [first + 1, first + 2]
    return scene.shown()


def check_nothing_lost(scene: Scene, shown: Mapping[str, Any], epoch: int) -> None:
    """The state that was resumed is, tensor by tensor, the one in which validation began."""
    receipt = shown["receipts"][0]
    assert receipt["verdict"]["where"] == "validation"
    assert receipt["resume"]["emergency"]["complete"] is True
    assert receipt["costs"]["steps_lost"] == 0
    assert [use["name"] for use in receipt["levers"]] == ["validation batch"]
    assert receipt["plan"]["edits"]["batch"] is None
    facts = scene.facts()
    failed = next(f for f in facts if f["event"] == "on_val_start" and f["epoch"] == epoch)
    resumed = [f for f in facts if f["event"] == "on_train_start"][1]
    assert resumed["start_epoch"] == epoch
    assert (resumed["ema"], resumed["optimizer"]) == (failed["ema"], failed["optimizer"])
    trained = [f for f in facts if f["event"] == "on_train_batch_end" and f["epoch"] == epoch]
    assert {f["pid"] for f in trained} == {failed["pid"]}, "no batch was trained twice"
    last = [f for f in facts if f["event"] == "on_val_start"][-1]
    assert last["validation_batch"] == shown["receipts"][-1]["plan"]["edits"]["validation_batch"]


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [0, 1, pytest.param(2, marks=pytest.mark.slice)])
def test_a_failed_validation_loses_nothing(scene: Scene, epoch: int) -> None:
    validated_on_all(scene)
    command = scene.yolo("batch=16", "epochs=3", "imgsz=160", "val=True")
    done = scene.run(scene.supervised(command), fail_at(scene, "validation", epoch, ROOM="50"))
    check_nothing_lost(scene, check_finished(scene, done), epoch)


@pytest.mark.slow
@pytest.mark.slice
def test_the_first_failed_validation_loses_nothing_in_the_older_family(tmp_path: Path) -> None:
    scene = small_scene("yolov9", tmp_path)
    command = training(scene, "yolov9", "--batch", "16")
    done = scene.run(scene.supervised(command), fail_at(scene, "validation", 0, ROOM="40"))
    check_nothing_lost(scene, check_finished(scene, done), 0)


@pytest.mark.slow
@pytest.mark.slice
def test_the_middle_of_an_epoch_is_kept_where_the_policy_says_so(
    tmp_path: Path, scene: Scene
) -> None:
    """The resumed state is, by hash, the one after the last completed optimizer step."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("emergency: any\n")
    command = scene.yolo("batch=16", "nbs=16", "epochs=3", "imgsz=224", "val=True")
    supervised = scene.supervised(command, "--policy", str(policy))
    done = scene.run(supervised, fail_at(scene, "forward", 1, FAIL_BATCH="2"))
    shown = check_finished(scene, done)
    receipt = shown["receipts"][0]
    assert receipt["verdict"]["where"] == "step"
    assert receipt["resume"]["emergency"]["complete"] is False
    assert any("begins again with the weights" in note for note in receipt["science"])
    facts = scene.facts()
    first = facts[0]["pid"]
    last = [f for f in facts if f["pid"] == first and f["event"] == "on_train_batch_end"][-1]
    resumed = [f for f in facts if f["event"] == "on_train_start"][1]
    assert resumed["start_epoch"] == last["epoch"] == 1
    assert (resumed["ema"], resumed["optimizer"]) == (last["ema"], last["optimizer"])


@pytest.mark.slow
def test_mosaic_stays_closed_after_a_resume(tmp_path: Path) -> None:
    """YOLOv9 closes it in one epoch, here the second; it resumes in the third."""
    scene = small_scene("yolov9", tmp_path)
    network = str(DATA / "yolov9-blocks.yaml")
    words = ("--batch", "16", "--cfg", network, "--close-mosaic", "2")
    command = training(scene, "yolov9", *words)
    done = scene.run(scene.supervised(command), fail_at(scene, "forward", 2, FAIL_BATCH="2"))
    check_finished(scene, done)
    ends = [f for f in scene.facts() if f["event"] == "on_train_batch_end"]
    first, last = ends[0]["pid"], ends[-1]["pid"]
    assert first != last
    before = [f["mosaic"] for f in ends if f["pid"] == first and f["epoch"] < 2]
    assert before == [True] * 4 + [False] * 4
    again = [f["mosaic"] for f in ends if f["pid"] == last]
    assert again
    assert not any(again)
