"""The levers that a policy file must name, with real trainers: in force, and enough to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import environments
from tests.trainers.scene import Scene, make_images
from tests.trainers.test_callbacks_family import DATA, small_scene, training
from tests.trainers.test_in_force import listening
from tests.trainers.test_places import fail_at
from yolowatch.model.plan import Edits
from yolowatch.trainers import ultralytics

pytestmark = [pytest.mark.trainers, pytest.mark.slow]

LEVERS = {"freeze": 5, "image_size": 96}


@pytest.fixture
def opt_in_scene(tmp_path: Path) -> Scene:
    """With the packages that two of these levers need."""
    python = environments.trainer_python("ultralytics-opt-in")
    return Scene(tmp_path, python, make_images(python, tmp_path / "images", 32))


def described(said: list[Any]) -> Any:
    """The last description of the run; the hook has not failed."""
    assert [fields for kind, fields in said if kind == "fault"] == []
    return [fields for kind, fields in said if kind == "run"][-1]


def heights(said: list[Any]) -> set[int]:
    """Of the images of every batch that was trained."""
    items = [item for kind, fields in said if kind == "footprints" for item in fields["items"]]
    return {item[2] for item in items if item[0] == "backward"}


def check(said: list[Any]) -> None:
    spec = described(said)
    assert (spec["frozen"], spec["image_size"]) == (5, 96)
    assert spec["freezable"] > 5
    assert heights(said) == {96}


def test_freeze_and_image_size_are_in_force(scene: Scene) -> None:
    edits = {**LEVERS, "start": "afresh", "run_dir": str(scene.run_dir)}
    with listening(scene, edits) as (environment, said):
        done = scene.run(scene.yolo("batch=8", "epochs=1", "imgsz=128"), environment)
    assert done.returncode == 0, done.stdout[-3000:]
    check(said)


@pytest.mark.parametrize("program", ["yolov5", "yolov9"])
def test_they_are_in_the_older_family(program: str, tmp_path: Path) -> None:
    scene = small_scene(program, tmp_path)
    network = DATA / "yolov9-blocks.yaml" if program == "yolov9" else "yolov5n.yaml"
    edits = {**LEVERS, "start": "afresh", "run_dir": str(scene.run_dir)}
    words = ("--batch", "8", "--cfg", str(network), "--epochs", "1")
    with listening(scene, edits) as (environment, said):
        done = scene.run(training(scene, program, *words), environment)
    assert done.returncode == 0, done.stdout[-3000:]
    check(said)


@pytest.mark.slice
def test_a_smaller_image_size_heals(scene: Scene) -> None:
    policy = scene.root / "policy.yaml"
    policy.write_text("levers: [image size]\nmargin: 0.01\n")
    command = scene.capped(imgsz=192, epochs=3)
    done = scene.run(scene.supervised(command, "--policy", str(policy)))
    assert done.returncode == 0, done.stdout[-4000:]
    assert scene.epochs() == [1, 2, 3]
    receipts = scene.shown()["receipts"]
    for receipt in receipts:
        assert [use["name"] for use in receipt["levers"]] == ["image size"]
        assert "do not compare" in " ".join(receipt["science"])
    first, *_, last = scene.facts()
    assert first["imgsz"] == 192
    assert last["imgsz"] == receipts[-1]["plan"]["edits"]["image_size"] < 192
    assert (last["batch"], last["accumulate"]) == (first["batch"], first["accumulate"])


def test_a_frozen_backbone_heals(scene: Scene) -> None:
    policy = scene.root / "policy.yaml"
    policy.write_text("levers: [freeze]\nmargin: 0.01\n")
    command = scene.capped(imgsz=192, epochs=3, part=0.85)
    done = scene.run(scene.supervised(command, "--policy", str(policy)))
    assert done.returncode == 0, done.stdout[-4000:]
    assert scene.epochs() == [1, 2, 3]
    (receipt,) = scene.shown()["receipts"]
    assert [use["name"] for use in receipt["levers"]] == ["freeze"]
    first, last = scene.facts()
    assert last["trained"] < first["trained"]
    assert last["batch"] == first["batch"]


def test_pruning_and_eight_bits_are_in_force_and_resumed(opt_in_scene: Scene) -> None:
    """A pruned training fails in a save; the next one goes on from the checkpoint before."""
    scene = opt_in_scene
    levers = {"pruning": 0.25, "optimizer_bits": 8, "run_dir": str(scene.run_dir)}
    command = scene.yolo("batch=8", "epochs=3", "optimizer=AdamW")
    failing = fail_at(scene, "save", epoch=1)
    with listening(scene, {**levers, "start": "afresh"}) as (environment, said):
        path = f"{environment['PYTHONPATH']}:{failing['PYTHONPATH']}"
        done = scene.run(command, {**failing, **environment, "PYTHONPATH": path})
    assert done.returncode != 0, done.stdout[-3000:]
    first = described(said)
    check_altered(first)

    last = str(scene.run_dir / "weights" / "last.pt")
    edits = {**levers, "start": "resume", "checkpoint": last}
    with listening(scene, edits) as (environment, said):
        done = scene.run(ultralytics.resume_command(command, last, Edits()), environment)
    assert done.returncode == 0, done.stdout[-3000:]
    assert sorted(set(scene.epochs())) == [1, 2, 3]  # here nobody trims what is trained again
    second = described(said)
    check_altered(second)
    assert second["start_epoch"] > 0
    assert second["pruned"] == first["pruned"]
    assert second["parameter_bytes"] == first["parameter_bytes"]


def check_altered(spec: Any) -> None:
    assert 0.1 < spec["pruned"] < 0.5
    assert spec["optimizer"] == "AdamW8bit"
    assert (spec["prunable"], spec["eight_bit"]) == (True, True)
