"""Short real trainings of three trainers whose memory is recorded, one JSON file each.

What a training says through the real hook is kept in the order in which it came, beside what the
kernel itself said: `bench/programs/forecasting` stands in the training and asks it.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.support.machine import ROOT
from tests import environments
from tests.trainers.scene import STEADY, make_images
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.listener import Listener
from yolowatch.edges.stage import stage
from yolowatch.model.events import Event, HookMessage

MARKS = (5, 10, 25, 50)  # training batches after which the forecast is asked
STEPS = 55
IMAGES, IMAGE_SIZE = 448, 64
_DATA = ROOT / "tests" / "trainers" / "data"
_NETWORKS = {
    "ultralytics": (str(ROOT / "bench/programs/networks/ultralytics-small.yaml"), "yolo11n.yaml"),
    "yolov5": (str(_DATA / "yolov5-small.yaml"), "yolov5n.yaml"),
    "yolov9": (str(_DATA / "yolov9-small.yaml"),),
}
_MOST_PIXELS, _FEW_PIXELS = 4 * 128**2, 2 * 96**2
_LARGER = ("yolo11n.yaml", "yolov5n.yaml")
_BATCHES, _SIZES, _MULTI_SCALE = (2, 4, 8), (64, 96, 128, 160), (True, False)
_SECONDS = 150


@dataclass(frozen=True)
class Shape:
    """One training: a trainer, a network, its batch, its image size, whether sizes are drawn."""

    trainer: str
    network: str
    batch: int
    size: int
    multi_scale: bool
    seed: int = 0

    @property
    def name(self) -> str:
        sizes = f"{self.size}{'m' if self.multi_scale else ''}"
        return f"{self.trainer}-{Path(self.network).stem}-b{self.batch}-{sizes}-{self.seed}"


def shapes() -> list[Shape]:
    """All of them, in an order that is the same every time and mixed, so that any first part of it
    stands for the rest.
    """
    found = []
    for trainer, networks in _NETWORKS.items():
        for network, batch, size, scale, seed in itertools.product(
            networks, _BATCHES, _SIZES, _MULTI_SCALE, range(3)
        ):
            if batch * size**2 > (_FEW_PIXELS if network in _LARGER else _MOST_PIXELS):
                continue  # it would take minutes
            if seed and network in _LARGER:
                continue
            # Of fewer places than it wants a trainer's assignment cannot choose.
            if size * (0.5 if scale else 1.0) >= 64:
                found.append(Shape(trainer, network, batch, size, scale, seed))
    random.Random(5).shuffle(found)
    return found


class Ground:
    """Where the trainings are made: images, a staged hook, a listener for what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._said: list[Event] = []
        self._lock = threading.Lock()
        state = folder / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        self._stage = stage(state).path
        self._socket = folder / "hook.sock"
        self._socket.unlink(missing_ok=True)
        uids = frozenset({os.getuid()})
        self._listener = Listener(self._socket, self._keep, uids=uids, clock=SystemClock())
        self._listener.start()

    def close(self) -> None:
        self._listener.close()

    def _keep(self, event: Event) -> bool:
        with self._lock:
            self._said.append(event)
        return True

    def train(self, shape: Shape) -> dict[str, Any]:
        """What the training said, and what the kernel said of it."""
        with self._lock:
            self._said.clear()
        root = self.folder / "training"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        python = environments.trainer_python(shape.trainer)
        command = _command(python, shape, self._data(python, shape.batch), root)
        told = root / "told.json"
        with (root / "output.txt").open("w") as output:
            done = subprocess.run(
                command,
                env=self._environment(told),
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=_SECONDS,
                check=False,
            )
        if done.returncode != 0:
            raise RuntimeError((root / "output.txt").read_text(errors="replace")[-1500:])
        with self._lock:
            said = [event for event in self._said if isinstance(event, HookMessage)]
        kernel = json.loads(told.read_text())
        kinds = ("run", "footprints", "sample")
        messages = [
            [each.at, each.kind, fields]
            for each in said
            if each.kind in kinds
            for fields in each.told
        ]
        return {"shape": asdict(shape), "kernel": kernel, "messages": messages}

    def _environment(self, told: Path) -> Mapping[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("YOLOWATCH")}
        settings = self.folder / "settings"
        settings.mkdir(exist_ok=True)
        kept |= {**STEADY, **environments.trainer_variables(settings)}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        site = ROOT / "bench" / "programs" / "forecasting"
        return kept | {
            "PYTHONPATH": os.pathsep.join((str(self._stage), str(site))),
            "YOLOWATCH_SOCKET": str(self._socket),
            "FORECAST_TOLD": str(told),
            "FORECAST_MARKS": json.dumps(MARKS),
            "OMP_NUM_THREADS": "1",
        }

    def _data(self, python: Path, batch: int) -> Path:
        """A data set of as many images as one epoch of this batch takes."""
        root = self.folder / "images"
        if not (root / "data.yaml").exists():
            make_images(python, root, IMAGES, IMAGE_SIZE)
            _font(python, self.folder / "settings")
        listed = sorted((root / "images" / "train").glob("*.png"))[: STEPS * batch]
        checked = sorted((root / "images" / "val").glob("*.png"))[: 4 * batch]
        for name, images in (("train", listed), ("val", checked)):
            (root / f"{name}-{batch}.txt").write_text("\n".join(map(str, images)) + "\n")
        data = root / f"data-{batch}.yaml"
        places = f"train: train-{batch}.txt\nval: val-{batch}.txt"
        data.write_text(f"path: {root}\n{places}\nnames: {{0: red, 1: green}}\n")
        return data


def _font(python: Path, settings: Path) -> None:
    """YOLOv5 and YOLOv9 would download one."""
    where = "import matplotlib; print(matplotlib.get_data_path())"
    fonts = subprocess.check_output((python, "-c", where), text=True).strip()
    settings.mkdir(exist_ok=True)
    shutil.copy(Path(fonts) / "fonts" / "ttf" / "DejaVuSans.ttf", settings / "Arial.ttf")


def _command(python: Path, shape: Shape, data: Path, root: Path) -> tuple[str, ...]:
    if shape.trainer == "ultralytics":
        return (
            *(str(python.parent / "yolo"), "detect", "train", f"model={shape.network}"),
            *(f"data={data}", f"project={root}", "name=run", f"imgsz={shape.size}"),
            *(f"batch={shape.batch}", f"seed={shape.seed}", "epochs=1", "device=cpu", "workers=0"),
            *("plots=False", f"multi_scale={0.5 if shape.multi_scale else 0.0}"),
        )
    words = (
        *(str(python), "-m", f"{shape.trainer}.train", "--weights", "", "--cfg", shape.network),
        *("--data", str(data), "--hyp", str(_DATA / "hyp.yaml"), "--epochs", "1"),
        *("--imgsz", str(shape.size), "--batch-size", str(shape.batch), "--device", "cpu"),
        *("--workers", "0", "--noplots", "--project", str(root), "--name", "run"),
        *("--seed", str(shape.seed)),
    )
    return (*words, "--multi-scale") if shape.multi_scale else words
