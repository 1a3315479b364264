"""Segmentation and classification with Ultralytics: they fail, are healed, and finish."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.trainers.scene import Scene, make_images

pytestmark = [pytest.mark.trainers, pytest.mark.slow]


def outlined(data: Path) -> Path:
    """The same data set, each box as the polygon of its corners."""
    for path in data.parent.glob("labels/**/*.txt"):
        lines = []
        for line in path.read_text().splitlines():
            kind, *numbers = line.split()
            x, y, width, height = map(float, numbers)
            left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
            corners = ((left, top), (right, top), (right, bottom), (left, bottom))
            lines.append(" ".join([kind, *(f"{n:.6f}" for corner in corners for n in corner)]))
        path.write_text("\n".join(lines) + "\n")
    return data


def sorted_in_two(data: Path) -> Path:
    """A folder of images for classification, of two classes."""
    folder = data.parent / "classes"
    images = sorted(data.parent.glob("images/**/*.png"))
    for part in ("train", "val"):
        for number, image in enumerate(images):
            kind = folder / part / ("even" if number % 2 == 0 else "odd")
            kind.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, kind / image.name)
    return folder


@pytest.mark.parametrize(("task", "model"), [("segment", "seg"), ("classify", "cls")])
def test_it_is_healed(task: str, model: str, trainer_python: Path, tmp_path: Path) -> None:
    data = make_images(trainer_python, tmp_path / "images", 64)
    scene = Scene(tmp_path, trainer_python, data)
    scene.data = outlined(data) if task == "segment" else sorted_in_two(data)
    command = scene.capped(model=f"yolo11n-{model}.yaml", batch=32, imgsz=128)
    done = scene.run(scene.supervised(command))
    assert done.returncode == 0, done.stdout[-3000:]
    first, *later = scene.facts()
    assert 1 <= len(later) <= 2
    assert later[-1]["batch"] < first["batch"] == 32
    assert later[-1]["batch"] * later[-1]["accumulate"] == first["batch"] * first["accumulate"]
    assert later[-1]["decay"] == first["decay"]
    assert scene.epochs() == [1, 2, 3]
    receipt = scene.shown()["receipts"][-1]
    assert receipt["user"]["task"] == task
    assert receipt["outcome"] == "finished"
