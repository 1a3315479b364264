"""Where memory runs out, and what is kept then: each place of the loop, with each trainer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.scene import Scene
from tests.trainers.test_callbacks_family import DATA, epochs, small_scene, training

pytestmark = pytest.mark.trainers

FAILING = str(Path(__file__).parent / "failing")
YOLOV5N = "yolov5n.yaml"  # the package's own
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
    # Where nothing at all is left, the state cannot be saved either, and that is told.
    faults = [line for line in done.stdout.splitlines() if "the hook failed" in line]
    assert all("emergency._save" in line for line in faults), faults
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


def start(program: str, tmp_path: Path, scene: Scene) -> tuple[Scene, tuple[str, ...]]:
    """The scene and the command of one of the programs that the matrix knows."""
    if program == "ultralytics":
        validated_on_all(scene)
        return scene, scene.yolo("batch=16", "epochs=3", "imgsz=160", "val=True")
    scene = small_scene("yolov5" if program == "yolov5" else "yolov9", tmp_path)
    network = DATA / "yolov9-blocks.yaml" if program == "yolov9" else YOLOV5N
    return scene, training(scene, program, "--batch", "16", "--cfg", str(network))


@pytest.mark.slow
@pytest.mark.parametrize(
    "program", [pytest.param("ultralytics", marks=pytest.mark.slice), "yolov5", "yolov9"]
)
def test_half_an_optimizer_step_is_never_resumed_from(
    program: str, tmp_path: Path, scene: Scene
) -> None:
    """Memory runs out between two parameters of the first step: what was saved before it counts."""
    scene, command = start(program, tmp_path, scene)
    # The older family steps after its first batch, Ultralytics after the fourth.
    epoch = 1 if program == "ultralytics" else 0
    done = scene.run(scene.supervised(command), fail_at(scene, "optimizer", epoch))
    shown = check_finished(scene, done)
    receipt = shown["receipts"][0]
    assert receipt["verdict"]["where"] == "first-optimizer-step"
    assert receipt["resume"]["emergency"] is None
    assert not list(scene.run_dir.glob(".yolowatch/emergency*"))
    assert receipt["resume"]["start"] == ("resume" if epoch else "afresh")
    facts = scene.facts()
    resumed = [f for f in facts if f["event"] == "on_train_start"][1]
    assert resumed["start_epoch"] == epoch
    if epoch:
        saved = next(f for f in facts if f["event"] == "on_val_start" and f["epoch"] == 0)
        assert (resumed["ema"], resumed["optimizer"]) == (saved["ema"], saved["optimizer"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "program", ["ultralytics", pytest.param("yolov5", marks=pytest.mark.slice), "yolov9"]
)
def test_a_save_that_fails_is_repeated(program: str, tmp_path: Path, scene: Scene) -> None:
    """The epoch is trained again from the copy in the vault: what tore in mid-write is not used."""
    scene, command = start(program, tmp_path, scene)
    done = scene.run(scene.supervised(command), fail_at(scene, "save"))
    shown = check_finished(scene, done)
    receipt = shown["receipts"][0]
    assert receipt["verdict"]["where"] == "save"
    assert receipt["resume"]["emergency"] is None
    resumed = [f for f in scene.facts() if f["event"] == "on_train_start"][1]
    assert resumed["start_epoch"] == 1


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
