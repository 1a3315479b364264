"""An order changes a training that runs: it is answered, and every later batch keeps to it.

The sizes of the batches are seen at the network itself, by a program of the test's own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.scene import Scene, make_images
from tests.trainers.test_callbacks_family import small_scene, training
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.listener import Listener
from yolowatch.edges.stage import stage
from yolowatch.hook import wire
from yolowatch.hook.levers.departing import STATUS
from yolowatch.model.events import Event, HookConnected, HookMessage

pytestmark = [pytest.mark.trainers, pytest.mark.slow]

SITE = Path(__file__).parent / "sizes"
ENOUGH = 12  # batches that are looked at in each range
LATEST_SECONDS = 60.0


class Live:
    """A hooked training that runs, what it says, and what its network sees."""

    def __init__(self, scene: Scene) -> None:
        self._sizes = scene.root / "sizes.txt"
        self._lock = threading.Lock()
        self._said: list[tuple[str, dict[str, Any]]] = []
        self._connection = 0
        self._scene = scene
        uids = frozenset({os.getuid()})
        path = scene.root / "socket"
        self._listener = Listener(path, self._keep, uids=uids, clock=SystemClock())
        self._listener.start()
        scene.environment |= {
            "PYTHONPATH": os.pathsep.join((str(stage(scene.state_made()).path), str(SITE))),
            "YOLOWATCH_SOCKET": str(path),
            "SIZES": str(self._sizes),
            "OMP_NUM_THREADS": "1",
        }
        self._process: subprocess.Popen[str] | None = None

    def start(self, command: Sequence[str]) -> None:
        self._process = self._scene.start(command, start_new_session=True)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._listener.close()

    def _keep(self, event: Event) -> bool:
        with self._lock:
            if isinstance(event, HookConnected):
                self._connection = event.connection
            elif isinstance(event, HookMessage):
                self._said += [(event.kind, dict(fields)) for fields in event.told]
        return True

    def said(self, kind: str) -> list[dict[str, Any]]:
        with self._lock:
            return [fields for each, fields in self._said if each == kind]

    def sizes(self) -> list[int]:
        """Of every batch so far."""
        return [int(line) for line in self._sizes.read_text().splitlines()]

    def wait(self, ready: Callable[[], Any]) -> Any:
        """What `ready` returns once that is true."""
        deadline = time.monotonic() + LATEST_SECONDS
        while True:
            found = ready()
            if found:
                return found
            output = (self._scene.root / "output.txt").read_text()[-2000:]
            assert self._process is not None
            assert self._process.poll() is None, output
            assert time.monotonic() < deadline, output
            time.sleep(0.05)

    def order(self, number: int, name: str, value: float) -> dict[str, Any]:
        """Give an order; the answer to it."""
        message = wire.encode("order", {"id": number, "name": name, "value": value})
        assert self._listener.send(self._connection, message)
        answers = self.wait(lambda: [a for a in self.said("ack") if a["id"] == number])
        found: dict[str, Any] = answers[-1]
        return found

    def ended(self) -> int:
        """The status of the process, once it has ended by itself."""
        assert self._process is not None
        status = self._process.wait(LATEST_SECONDS)
        time.sleep(0.5)  # its last messages are read by a thread
        return status

    def range_in_force(self, ratio: float) -> list[int]:
        """Once the trainer itself says so: the sizes of the batches after that."""
        self.wait(lambda: abs(self.said("run")[-1]["multi_scale"] - ratio) < 1e-6)
        begun = len(self.sizes()) + 1  # a batch may have drawn its size, and not come so far
        self.wait(lambda: len(self.sizes()) >= begun + ENOUGH)
        return self.sizes()[begun:]


@contextmanager
def live(scene: Scene, command: Sequence[str]) -> Iterator[Live]:
    training = Live(scene)
    try:
        training.start(command)
        training.wait(lambda: training._sizes.exists() and len(training.sizes()) >= ENOUGH)
        yield training
    finally:
        training.end()


def check(training: Live) -> None:
    """Narrowed, switched off and widened again, 128 px being the image size."""
    assert max(training.sizes()) > 160 or min(training.sizes()) < 96, "the user's own range"

    assert training.order(1, "multi_scale", 0.25) == {"id": 1, "accepted": True}
    narrow = training.range_in_force(0.25)
    assert 96 <= min(narrow) < max(narrow) <= 160

    assert training.order(2, "multi_scale", 0.0)["accepted"]
    assert set(training.range_in_force(0.0)) == {128}

    refused = training.order(3, "batch", 1.0)
    assert not refused["accepted"]
    assert "no order of that name" in refused["reason"]
    assert not training.order(4, "multi_scale", 7.0)["accepted"]
    assert set(training.sizes()[-5:]) == {128}

    assert training.order(5, "multi_scale", 0.5)["accepted"]
    wide = training.range_in_force(0.5)
    assert 64 <= min(wide) < max(wide) <= 192
    assert len(set(wide)) > 2
    spec = training.said("run")[-1]
    assert (spec["image_size_min"], spec["image_size_max"]) == (64, 192)
    assert training.said("fault") == []


def check_validation(training: Live) -> None:
    """A smaller validation batch, as the trainer itself tells."""
    before = training.said("run")[-1]["validation_batch"]
    assert before == 4
    assert not training.order(6, "validation_batch", before + 1.0)["accepted"]
    assert training.order(7, "validation_batch", 2.0)["accepted"]
    training.wait(lambda: training.said("run")[-1]["validation_batch"] == 2)


def check_leaving(training: Live, last: Path) -> None:
    """It ends as soon as its epoch is saved, and says so; also one that saves nothing else."""
    assert not last.exists()
    assert training.order(8, "leave", 1.0)["accepted"]
    status = training.ended()
    assert status == STATUS, "not what a training that is done, or failed, ends with"
    (left,) = training.said("left")
    saved = training.said("checkpoint")[-1]
    assert left["epoch"] == saved["epoch"]
    assert Path(saved["path"]) == last
    assert last.exists()
    steps = -(-32 // 2) * (left["epoch"] + 1)
    assert len(training.sizes()) == saved["step"] == steps, "nothing is trained after it"
    assert training.said("bye") == []
    assert training.said("fault") == []


@pytest.mark.slice
def test_ultralytics(scene: Scene) -> None:
    scene.data = make_images(scene.python, scene.root / "images", 32)
    command = scene.yolo("batch=2", "epochs=1000", "imgsz=128", "multi_scale=0.5", "save=False")
    with live(scene, command) as training:
        check(training)
        check_validation(training)
        check_leaving(training, scene.run_dir / "weights" / "last.pt")


def test_yolov5(tmp_path: Path) -> None:
    scene = small_scene("yolov5", tmp_path)
    words = ("--batch", "2", "--epochs", "1000", "--multi-scale", "--nosave")
    command = training(scene, "yolov5", *words)
    with live(scene, command) as running:
        check(running)
        check_validation(running)
        refused = running.order(8, "leave", 1.0)
        assert "no order of that name" in refused["reason"], "it would lose what it has trained"
