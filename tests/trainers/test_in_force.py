"""Each lever beside the batch is in force in the trainer: as the hook observes it, step by step."""

from __future__ import annotations

import csv
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.scene import Scene, make_images
from tests.trainers.test_callbacks_family import DATA, small_scene, training
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.listener import Listener
from yolowatch.edges.stage import stage
from yolowatch.model.events import Event, HookMessage

pytestmark = [pytest.mark.trainers, pytest.mark.slow]

LEVERS = {"validation_batch": 4, "multi_scale": 0.25, "amp": "fp16", "checkpointing": True}


@contextmanager
def listening(scene: Scene, edits: Mapping[str, Any]) -> Iterator[tuple[dict[str, str], list[Any]]]:
    """The environment of an attempt with these edits, and what its hook says: (kind, fields)."""
    said: list[Any] = []
    lock = threading.Lock()

    def keep(event: Event) -> bool:
        with lock:
            if isinstance(event, HookMessage):
                said.extend((event.kind, fields) for fields in event.told)
        return True

    scene.state.mkdir(mode=0o700, exist_ok=True)
    staged = stage(scene.state)
    uids = frozenset({os.getuid()})
    listener = Listener(scene.root / "socket", keep, uids=uids, clock=SystemClock())
    listener.start()
    try:
        yield (
            {
                "PYTHONPATH": str(staged.path),
                "YOLOWATCH_SOCKET": str(scene.root / "socket"),
                "YOLOWATCH_ATTEMPT": "1",
                "YOLOWATCH_EDITS": json.dumps(edits),
                "OMP_NUM_THREADS": "1",
            },
            said,
        )
    finally:
        listener.close()


def check(said: list[Any], precision: str, size: int) -> None:
    """The last description of the run, and the sizes of every batch that was trained."""
    assert [fields for kind, fields in said if kind == "fault"] == []
    spec = [fields for kind, fields in said if kind == "run"][-1]
    assert spec["validation_batch"] == 4
    assert spec["multi_scale"] == 0.25
    assert spec["precision"] == precision
    assert spec["checkpointed"] == spec["checkpointable"] > 0
    assert size * 0.75 - 32 <= spec["image_size_min"] < spec["image_size_max"] <= size * 1.25 + 32
    items = [item for kind, fields in said if kind == "footprints" for item in fields["items"]]
    heights = {item[2] for item in items if item[0] == "backward"}
    assert len(heights) > 1, "sizes are still drawn"
    assert spec["image_size_min"] <= min(heights)
    assert max(heights) <= spec["image_size_max"]
    assert {item[1] for item in items if item[0] == "validation"} == {4}


def test_ultralytics(scene: Scene) -> None:
    scene.data = make_images(scene.python, scene.root / "images", 64)
    # Its mixed precision refuses every CPU.
    levers = {name: value for name, value in LEVERS.items() if name != "amp"}
    edits = {**levers, "start": "afresh", "run_dir": str(scene.run_dir)}
    command = scene.yolo("batch=4", "epochs=1", "imgsz=128", "multi_scale=0.5", "val=True")
    with listening(scene, edits) as (environment, said):
        done = scene.run(command, environment)
    assert done.returncode == 0, done.stdout[-3000:]
    check(said, "fp32", 128)


@pytest.mark.parametrize("program", ["yolov5", "yolov9"])
def test_the_older_family(program: str, tmp_path: Path) -> None:
    scene = small_scene(program, tmp_path)
    network = DATA / "yolov9-blocks.yaml" if program == "yolov9" else "yolov5n.yaml"
    # YOLOv9 finds by itself that mixed precision works: the lever is refused there.
    levers = {name: value for name, value in LEVERS.items() if program != "yolov9" or name != "amp"}
    edits = {**levers, "start": "afresh", "run_dir": str(scene.run_dir)}
    words = ("--batch", "4", "--cfg", str(network), "--epochs", "1", "--multi-scale")
    with listening(scene, edits) as (environment, said):
        done = scene.run(training(scene, program, *words), environment)
    assert done.returncode == 0, done.stdout[-3000:]
    check(said, "fp16" if program == "yolov5" else "fp32", 128)


def metrics(scene: Scene) -> list[list[str]]:
    """The metrics of every epoch, as written."""
    with (scene.run_dir / "results.csv").open() as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    names = [name for name in rows[0] if name.strip().startswith("metrics/")]
    return [[row[name].strip() for name in names] for row in rows]


@pytest.mark.slice
@pytest.mark.timeout(600)
def test_the_metrics_do_not_depend_on_the_validation_batch(scene: Scene) -> None:
    """The same training, as it is and with a smaller validation batch."""
    scene.data = make_images(scene.python, scene.root / "images", 64)
    words = ("batch=8", "epochs=8", "val=True", "optimizer=AdamW", "lr0=0.005", "mosaic=0.0")
    command = scene.yolo(*words, "close_mosaic=0", "seed=0")
    check_same_metrics(scene, command)


@pytest.mark.timeout(600)
def test_nor_do_they_in_the_older_family(tmp_path: Path) -> None:
    """YOLOv5's network is left out: on the CPU it rounds otherwise for another batch, by 1e-6 of a
    prediction, and that changes the order of detections that are nearly alike.
    """
    scene = small_scene("yolov9", tmp_path)
    del scene.environment["PYTHONPATH"]  # nothing is limited
    settings = (DATA / "hyp.yaml").read_text().replace("lr0: 0.01\n", "lr0: 0.005\n")
    (tmp_path / "hyp.yaml").write_text(settings)
    words = ("--batch", "8", "--cfg", str(DATA / "yolov9-blocks.yaml"))
    words += ("--hyp", str(tmp_path / "hyp.yaml"), "--epochs", "16", "--optimizer", "AdamW")
    # The last epoch alone is validated, which is enough.
    check_same_metrics(scene, training(scene, "yolov9", *words, "--noval"))


def check_same_metrics(scene: Scene, command: tuple[str, ...]) -> None:
    """What validation finds is the same to the last digit; there is something that it finds."""
    found, validated_with = [], []
    for lever in ({}, {"validation_batch": 4}):
        shutil.rmtree(scene.run_dir, ignore_errors=True)
        # An optimizer step for each batch, so that it learns something in a few epochs.
        edits = {"nbs": 8, **lever, "start": "afresh", "run_dir": str(scene.run_dir)}
        with listening(scene, edits) as (environment, said):
            done = scene.run(command, environment)
        assert done.returncode == 0, done.stdout[-3000:]
        assert [fields for kind, fields in said if kind == "fault"] == []
        items = [item for kind, fields in said if kind == "footprints" for item in fields["items"]]
        validated_with.append({item[1] for item in items if item[0] == "validation"})
        found.append(metrics(scene))
    assert validated_with[0].isdisjoint(validated_with[1])
    assert max(float(row[2]) for row in found[0]) > 0, "there is a mAP to compare"
    assert found[0] == found[1]
