"""Memory runs out in the validation that ends a training: no epoch is left to be resumed.

The process itself goes on with half the batch; where that is not permitted, a person is told the
command that makes up for it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.scene import Scene
from tests.trainers.test_callbacks_family import small_scene, training
from tests.trainers.test_places import check_finished, fail_at, validated_on_all

pytestmark = [pytest.mark.trainers, pytest.mark.slow]

# In MiB: a library keeps some for each size of batch that it has seen.
ROOM = "100"


def ultralytics(scene: Scene) -> tuple[str, ...]:
    validated_on_all(scene)
    return scene.yolo("batch=16", "epochs=3", "imgsz=256", "val=True")


def check_survived(shown: dict[str, Any]) -> None:
    """One process, and a receipt for each smaller batch: half may still have been too much."""
    assert len(shown["attempts"]) == 1
    incidents = [each for each in shown["incidents"] if each["outcome"] == "rescued"]
    assert 1 <= len(incidents) <= 3
    for incident in incidents:
        assert incident["kind"] == "cpu-oom"
        assert "out of memory in validation" in incident["sentence"]
        (receipt,) = [r for r in shown["receipts"] if r["incident"] == incident["id"]]
        assert [use["name"] for use in receipt["levers"]] == ["validation batch"]
        assert receipt["costs"]["steps_lost"] == 0


def test_the_process_goes_on_with_half_the_batch(scene: Scene) -> None:
    command = ultralytics(scene)
    done = scene.run(scene.supervised(command), fail_at(scene, "final", ROOM=ROOM))
    check_survived(check_finished(scene, done))
    validated = [f["validation_batch"] for f in scene.facts() if f["event"] == "on_val_start"]
    assert validated[:4] == [32] * 4, "three epochs, and the validation that failed"
    assert validated[4:] in ([16], [16, 8], [16, 8, 4])


@pytest.mark.parametrize("trainer", ["yolov5", "yolov9"])
def test_so_does_the_older_family(trainer: str, tmp_path: Path) -> None:
    scene = small_scene(trainer, tmp_path)
    command = training(scene, trainer, "--batch", "16")
    done = scene.run(scene.supervised(command), fail_at(scene, "final", ROOM="40"))
    check_survived(check_finished(scene, done))


def test_where_that_is_not_permitted_a_command_is_told_that_works(scene: Scene) -> None:
    policy = scene.root / "policy.yaml"
    policy.write_text("levers: [batch]\n")
    command = scene.supervised(ultralytics(scene), "--policy", str(policy))
    done = scene.run(command, fail_at(scene, "final", ROOM=ROOM))
    assert done.returncode == 1
    assert scene.epochs() == [1, 2, 3]
    shown = scene.shown()
    assert len(shown["attempts"]) == 1
    (incident,) = [each for each in shown["incidents"] if each["kind"] == "cpu-oom"]
    said, told, line = incident["outcome"].partition("with a smaller batch: ")
    assert said.startswith("refused: All is trained and saved")
    assert told
    assert f"batch={32 // 2}" in line
    path = f"{scene.python.parent}{os.pathsep}{scene.environment['PATH']}"
    again = subprocess.run(
        ("/bin/sh", "-c", line),
        cwd=scene.root,
        env=scene.environment | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout[-3000:]
    assert "Results saved to" in again.stdout
