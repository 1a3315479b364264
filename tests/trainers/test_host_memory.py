"""The levers for the host's memory: in force in real trainers, and the answer to a real failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainers.scene import Scene, make_images
from tests.trainers.test_callbacks_family import small_scene, training
from tests.trainers.test_in_force import listening

pytestmark = [pytest.mark.trainers, pytest.mark.slow]

CACHING = Path(__file__).parent / "caching"


def told(said: list[Any]) -> dict[str, Any]:
    """The last description of the run, which the loaders themselves were read for."""
    assert [fields for kind, fields in said if kind == "fault"] == []
    found: dict[str, Any] = [fields for kind, fields in said if kind == "run"][-1]
    return found


@pytest.mark.slice
def test_a_cache_that_does_not_fit_goes_to_the_disk(scene: Scene) -> None:
    scene.data = make_images(scene.python, scene.root / "images", 32, 256)
    scene.environment["PYTHONPATH"] = str(CACHING)
    command = scene.yolo("batch=8", "epochs=1", "imgsz=256", "cache=ram")
    done = scene.run(scene.supervised(command))
    assert done.returncode == 0, done.stdout[-3000:]
    shown = scene.shown()
    (receipt,) = shown["receipts"]
    assert receipt["outcome"] == "finished"
    assert receipt["verdict"]["kind"] == "host-oom"
    assert [each["name"] for each in receipt["levers"]] == ["cache"]
    assert receipt["plan"]["edits"]["cache"] == "disk"
    assert receipt["plan"]["edits"]["batch"] is None
    assert [each["outcome"] for each in shown["attempts"]] == ["host-oom", "finished"]
    assert scene.epochs() == [1]
    # Only a cache on the disk leaves files beside the images.
    assert len(list((scene.root / "images").rglob("*.npy"))) >= 32


def test_ultralytics_without_a_cache(scene: Scene) -> None:
    scene.data = make_images(scene.python, scene.root / "images", 16)
    edits = {"cache": "none", "workers": 1, "pin_memory": False}
    attempt = {**edits, "start": "afresh", "run_dir": str(scene.run_dir)}
    command = scene.yolo("batch=8", "epochs=1", "cache=disk")
    with listening(scene, attempt) as (environment, said):
        done = scene.run(command, environment)
    assert done.returncode == 0, done.stdout[-3000:]
    spec = told(said)
    # It lets no workers load for a CPU, whatever it is asked for.
    assert (spec["cache"], spec["workers"], spec["pin_memory"]) == ("none", 0, False)
    assert list((scene.root / "images").rglob("*.npy")) == []


def test_yolov5(tmp_path: Path) -> None:
    scene = small_scene("yolov5", tmp_path)
    words = ("--batch", "4", "--epochs", "1", "--workers", "2", "--cache", "ram")
    edits = {"cache": "disk", "workers": 1, "pin_memory": False}
    attempt = {**edits, "start": "afresh", "run_dir": str(scene.run_dir)}
    with listening(scene, attempt) as (environment, said):
        environment["PIN_MEMORY"] = "false"  # as the launcher does
        done = scene.run(training(scene, "yolov5", *words), environment)
    assert done.returncode == 0, done.stdout[-3000:]
    spec = told(said)
    assert (spec["cache"], spec["workers"], spec["pin_memory"]) == ("disk", 1, False)
    options = (scene.run_dir / "opt.yaml").read_text()
    assert "\ncache: disk\n" in options
    assert "\nworkers: 1\n" in options
    assert len(list((scene.root / "images").rglob("*.npy"))) >= 64
