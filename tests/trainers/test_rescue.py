"""A failure is answered in the process itself: it goes on, and learns what it would have learnt.

Held against the same training without a limit: all weights, all BatchNorm statistics and the
optimizer's whole state after the very step that failed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.scene import Scene
from tests.trainers.test_callbacks_family import small_scene, training
from tests.trainers.test_places import fail_at, validated_on_all

pytestmark = [pytest.mark.trainers, pytest.mark.slow]

HERE = Path(__file__).parent
SAME = 1e-3  # of the largest number of a tensor: gradients are added up in another order
BATCH = 3  # the last one of the only epoch


def rescued(scene: Scene, command: tuple[str, ...]) -> dict[str, Any]:
    """Train with a limit that the last batch exceeds in its forward pass, and without one."""
    policy = scene.root / "policy.yaml"
    policy.write_text("rescue: true\n")
    kept = [scene.root / name for name in ("free.pt", "limited.pt")]
    for path, part in zip(kept, ("0", "0.8"), strict=True):
        given = {
            "PYTHONPATH": str(HERE / "rescuing"),
            "BATCH": str(BATCH),
            "PART": part,
            "WEIGHTS": str(path),
            "OMP_NUM_THREADS": "1",
        }
        limited = part != "0"
        line = scene.supervised(command, "--policy", str(policy)) if limited else command
        done = scene.run(line, given)
        assert done.returncode == 0, done.stdout[-4000:]
        assert "the hook failed" not in done.stdout
    apart = (scene.python, HERE / "programs" / "apart.py", *kept)
    difference = float(subprocess.check_output(apart, text=True))
    assert difference < SAME
    return scene.shown()


def check(shown: dict[str, Any]) -> None:
    """One process, a failure that was a real one, and a receipt for what has changed."""
    assert len(shown["attempts"]) == 1
    # That memory was short may be reported besides.
    (incident,) = [each for each in shown["incidents"] if each["outcome"] == "rescued"]
    assert incident["kind"] == "cpu-oom"
    assert "out of memory in forward" in incident["sentence"]
    (receipt,) = [r for r in shown["receipts"] if r["levers"][0]["name"] == "checkpointing"]
    assert receipt["resume"]["start"] == "live"
    assert receipt["costs"]["steps_lost"] == 0


@pytest.mark.slice
@pytest.mark.timeout(600)
def test_a_step_of_ultralytics(scene: Scene) -> None:
    check(rescued(scene, scene.yolo("batch=11", "epochs=1", "imgsz=160", "seed=1")))


@pytest.mark.timeout(600)
def test_a_step_of_yolov5(tmp_path: Path) -> None:
    scene = small_scene("yolov5", tmp_path)
    words = ("--batch", "22", "--epochs", "1", "--cfg", "yolov5n.yaml", "--imgsz", "160")
    check(rescued(scene, training(scene, "yolov5", *words)))


@pytest.mark.timeout(600)
def test_a_validation(scene: Scene) -> None:
    """It begins again with half the batch; nothing is trained twice, and nobody starts anew."""
    validated_on_all(scene)
    policy = scene.root / "policy.yaml"
    policy.write_text("rescue: true\n")
    command = scene.yolo("batch=16", "epochs=2", "imgsz=160", "val=True")
    done = scene.run(
        scene.supervised(command, "--policy", str(policy)),
        fail_at(scene, "validation", 0, ROOM="50"),
    )
    assert done.returncode == 0, done.stdout[-4000:]
    shown = scene.shown()
    assert len(shown["attempts"]) == 1
    assert "rescued" in {each["outcome"] for each in shown["incidents"]}
    assert {r["levers"][0]["name"] for r in shown["receipts"]} == {"validation batch"}
    facts = [fact for fact in scene.facts() if fact["event"] == "on_val_start"]
    assert facts[-1]["validation_batch"] < facts[0]["validation_batch"]
    assert scene.epochs() == [1, 2]
