"""Where memory runs out, and what is kept then: each place of the loop, with each trainer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.scene import Scene
from tests.trainers.test_callbacks_family import epochs, small_scene, training

pytestmark = pytest.mark.trainers

FAILING = str(Path(__file__).parent / "failing")
LATER = [pytest.mark.slow, pytest.mark.slice]


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
    assert "the hook failed" not in done.stdout, done.stdout[-4000:]
    first, *others = epochs(scene)
    assert others == [first + 1, first + 2]
    return scene.shown()


def check_nothing_lost(scene: Scene, shown: dict[str, Any], epoch: int) -> None:
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


@pytest.mark.parametrize("epoch", [1, pytest.param(0, marks=LATER), pytest.param(2, marks=LATER)])
def test_a_failed_validation_loses_nothing(scene: Scene, epoch: int) -> None:
    validated_on_all(scene)
    command = scene.yolo("batch=16", "epochs=3", "imgsz=160", "val=True")
    done = scene.run(scene.supervised(command), fail_at(scene, "validation", epoch, ROOM="50"))
    check_nothing_lost(scene, check_finished(scene, done), epoch)


@pytest.mark.parametrize(
    ("trainer", "program", "epoch"),
    [
        pytest.param("yolov5", "yolov5", 1, marks=LATER),
        pytest.param("yolov9", "yolov9-dual", 1, marks=LATER),
        pytest.param("yolov9", "yolov9", 0, marks=LATER),
    ],
)
def test_a_failed_validation_loses_nothing_in_the_older_family(
    trainer: str, program: str, epoch: int, tmp_path: Path
) -> None:
    scene = small_scene(trainer, tmp_path)
    command = training(scene, program, "--batch", "16")
    done = scene.run(scene.supervised(command), fail_at(scene, "validation", epoch, ROOM="40"))
    check_nothing_lost(scene, check_finished(scene, done), epoch)
