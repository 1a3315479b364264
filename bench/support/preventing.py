"""Trainings under a capacity that only a part of their sizes exceeds, as `bench/prevention.py` and
`bench/false_alarms.py` run them: real trainers under `yolowatch run`, sizes from a seed alone.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.support.machine import ROOT
from tests import environments
from tests.trainers.scene import Scene, make_images

SITE = ROOT / "bench" / "programs" / "preventing"
IMAGES, STRIDE = 64, 32
TRAINERS = ("ultralytics", "yolov5")
MOST_SECONDS = 280.0


@dataclass(frozen=True)
class Training:
    """One training of one of the trainers; sizes in pixels, the capacity in bytes."""

    trainer: str
    batch: int
    size: int
    epochs: int = 3
    multi_scale: bool = True
    seed: int = 0
    capacity: int = 0
    largest: int = 0
    validation_batch: int = 0
    model: str = ""


@dataclass(frozen=True)
class Seen:
    """What came of it: events of the training's own, and what yolowatch said and keeps."""

    status: int
    facts: Sequence[Mapping[str, Any]]
    output: str
    shown: Mapping[str, Any]

    @property
    def restarts(self) -> int:
        return max(int(fact["attempt"]) for fact in self.facts)

    @property
    def peak(self) -> int:
        """The most that the first attempt took since its first epoch began."""
        return max(int(fact["peak"]) for fact in self.facts if fact["attempt"] == 0)

    def sizes(self, attempt: int = 0) -> list[int]:
        return [
            int(fact["size"])
            for fact in self.facts
            if fact["event"] == "batch" and fact["attempt"] == attempt
        ]


def first_above(seed: int, size: int, ratio: float) -> int | None:
    """The batch, counted from 0, at which this seed's first size above `ratio` times `size` comes
    in the user's own range; None where none does in a thousand.
    """
    drawn = random.Random(f"{seed}/0")
    start, stop = int(size * 0.5), int(size * 1.5) + STRIDE
    for batch in range(1000):
        if (start + int(drawn.random() * (stop - start))) // STRIDE * STRIDE > ratio * size:
            return batch
    return None


class Ground:
    """Where the trainings lie; images are made once for each size."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def train(
        self,
        training: Training,
        name: str,
        policy: str = "",
        mode: str = "auto",
        state: Path | None = None,
    ) -> Seen:
        """Run it to its end under `yolowatch run`."""
        python = environments.trainer_python(training.trainer)
        root = self._folder / name
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        scene = Scene(root, python, self._images(python, training))
        settings = scene.data.parent
        self._font(python, settings)
        scene.environment |= environments.trainer_variables(settings) | {
            "PYTHONPATH": str(SITE),
            "FACTS": str(root / "facts.jsonl"),
            "CAPACITY": str(training.capacity),
            "LARGEST": str(training.largest),
            "VALIDATION_BATCH": str(training.validation_batch),
            "SIZE_SEED": str(training.seed),
            "OMP_NUM_THREADS": "1",
        }
        (root / "policy.yaml").write_text(policy or "{}\n")
        kept = state or scene.state
        command = scene.yolowatch(
            *("run", "--state-dir", str(kept), "--mode", mode),
            *("--policy", str(root / "policy.yaml"), "--", *_command(scene, training)),
        )
        done = scene.run(command, seconds=MOST_SECONDS)
        facts = scene.facts() if (root / "facts.jsonl").exists() else []
        shown = _shown(scene, kept)
        shutil.rmtree(root / "runs", ignore_errors=True)
        return Seen(done.returncode, facts, done.stdout, shown)

    def _images(self, python: Path, training: Training) -> Path:
        folder = self._folder / f"images-{training.size}"
        if not (folder / "data.yaml").exists():
            make_images(python, folder, IMAGES, training.size)
        return folder / "data.yaml"

    def _font(self, python: Path, settings: Path) -> None:
        """YOLOv5 would download one."""
        if not (settings / "Arial.ttf").exists():
            where = "import matplotlib; print(matplotlib.get_data_path())"
            data = subprocess.check_output((python, "-c", where), text=True).strip()
            shutil.copy(Path(data) / "fonts" / "ttf" / "DejaVuSans.ttf", settings / "Arial.ttf")


def _command(scene: Scene, training: Training) -> tuple[str, ...]:
    if training.trainer == "ultralytics":
        words = (
            *(f"batch={training.batch}", f"imgsz={training.size}", f"epochs={training.epochs}"),
            *(f"multi_scale={0.5 if training.multi_scale else 0.0}", f"seed={training.seed}"),
            *("val=True", f"model={training.model or 'yolo11n.yaml'}"),
        )
        return scene.yolo(*words)
    return (
        *(str(scene.python), "-m", "yolov5.train", "--weights", "", "--data", str(scene.data)),
        *("--cfg", training.model or "yolov5n.yaml", "--imgsz", str(training.size)),
        *("--hyp", str(ROOT / "tests" / "trainers" / "data" / "hyp.yaml"), "--device", "cpu"),
        *("--batch", str(training.batch), "--epochs", str(training.epochs), "--workers", "0"),
        *("--noplots", "--seed", str(training.seed), "--project", str(scene.root / "runs")),
        *("--name", "run", *(("--multi-scale",) if training.multi_scale else ())),
    )


def _shown(scene: Scene, state: Path) -> Mapping[str, Any]:
    """`yolowatch show` of the newest run."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("YOLOWATCH")}

    def asked(*words: str) -> Any:
        line = scene.yolowatch(*words[:1], "--state-dir", str(state), "--json", *words[1:])
        text = subprocess.run(line, check=True, stdout=subprocess.PIPE, env=environment).stdout
        return json.loads(text)

    shown: Mapping[str, Any] = asked("show", asked("runs")[0]["id"])
    return shown
