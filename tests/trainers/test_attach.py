"""Real trainings that yolowatch did not start: the hook comes in the middle, and goes again."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.scene import Scene
from tests.trainers.test_callbacks_family import small_scene, training, weights
from tests.trainers.test_unharmed import learnt, plain

pytestmark = [pytest.mark.trainers, pytest.mark.slow]


@contextmanager
def started(scene: Scene, command: Sequence[str], sign: str) -> Iterator[subprocess.Popen[str]]:
    """A training of the user's, once its output shows the sign."""
    process = scene.start(command, start_new_session=True)
    try:
        while sign not in output(scene):
            assert process.poll() is None, output(scene)[-3000:]
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def output(scene: Scene) -> str:
    return (scene.root / "output.txt").read_text(errors="replace")


def entered(scene: Scene, verb: str, pid: int) -> dict[str, Any]:
    command = scene.yolowatch(verb, "--json", "--wait", "60", "--state-dir", str(scene.state))
    done = subprocess.run((*command, str(pid)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert isinstance(told, dict)
    return told


@pytest.mark.slice
def test_an_ultralytics_training_is_described_and_unharmed(scene: Scene) -> None:
    words = ("epochs=6", 'optimizer="SGD"')
    bare = learnt(scene.run(plain(scene, *words)).stdout)
    with started(scene, plain(scene, *words), "Starting training") as process:
        for _ in range(3):
            met = entered(scene, "attach", process.pid)
            run = met["said"]
            assert run["trainer"] == "ultralytics"
            assert run["batch"] * run["accumulate"] == 64
            assert (run["epochs"], run["optimizer"]) == (6, "SGD")
            assert Path(run["run_dir"]).parent == scene.root / "runs"
            assert run["entry"] == "script"
            assert "train_calls" not in run, "what it trained before cannot be known"
            entered(scene, "detach", process.pid)
        assert process.wait(240) == 0
    assert learnt(output(scene)) == bare


def test_the_command_of_ultralytics_trained_nothing_before(scene: Scene) -> None:
    command = scene.yolo("epochs=8", "batch=8")
    with started(scene, command, "Starting training") as process:
        run = entered(scene, "attach", process.pid)["said"]
        assert (run["entry"], run["train_calls"]) == ("command", 1)
        assert process.wait(240) == 0
    assert scene.epochs() == list(range(1, 9))


@pytest.mark.parametrize(
    ("trainer", "program"), [("yolov5", "yolov5"), ("yolov9", "yolov9"), ("yolov9", "yolov9-dual")]
)
def test_the_older_family_is_described_and_unharmed(
    trainer: str, program: str, tmp_path: Path
) -> None:
    scene = small_scene(trainer, tmp_path)
    command = training(scene, program, "--batch-size", "8", "--epochs", "10")
    scene.environment.pop("PYTHONPATH")
    assert scene.run(command).returncode == 0
    bare = weights(scene)
    scene.run_dir.rename(scene.root / "bare")
    with started(scene, command, "Starting training") as process:
        for _ in range(2):
            run = entered(scene, "attach", process.pid)["said"]
            assert run["trainer"] == trainer
            assert (run["batch"], run["nbs"], run["accumulate"]) == (8, 64, 8)
            assert (run["epochs"], run["image_size"]) == (10, 128)
            assert (run["entry"], run["train_calls"]) == ("command", 1)
            assert run["run_dir"] == str(scene.run_dir)
            assert run["effective_weight_decay"] > 0
            entered(scene, "detach", process.pid)
        assert process.wait(240) == 0, output(scene)[-3000:]
    assert weights(scene) == bare
