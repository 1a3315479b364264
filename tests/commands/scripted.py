"""A scripted daemon for the commands that ask one: a real control socket and a view to show."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

from yolowatch.daemon.answering import answer
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.control import ControlListener
from yolowatch.model.control import Command
from yolowatch.model.events import ControlReceived, Event
from yolowatch.model.view import (
    DeviceView,
    FleetView,
    IncidentView,
    MemoryView,
    PlanView,
    RunView,
)

GIB = 1 << 30
HOSTILE = "evil\x1b[2J\x1b]0;owned\x07\u202e[red]x[/red]\nnext"


def memory(free: float, capacity: float = 10.0) -> MemoryView:
    used = round((capacity - free) * GIB)
    return MemoryView(used, used, used, round(capacity * GIB), round(free * GIB))


TRAINING = RunView(
    "a1b2c3d4",
    1001,
    "alice",
    4321,
    "ultralytics",
    "yolo11n.pt",
    "/home/alice/runs/train",
    "auto",
    "the rule of user alice",
    hook=True,
    state="training",
    phase="forward",
    epoch=3,
    epochs=100,
    step=42,
    batch=16,
    accumulate=4,
    effective_batch=64,
    image_size=640,
    precision="bf16",
    memory=memory(4.0),
    sentence="adopted process 4321",
)
WAITING = RunView(
    "b0b0c3d4",
    1002,
    "bob",
    state="waiting for approval",
    mode="recommend",
    mode_reason="the service's mode",
    memory=memory(0.2),
    incidents=(IncidentView("i1", "cuda-oom", "the GPU had no 2.0 GiB left"),),
    plan=PlanView("p7", ("batch 64 becomes 32",), "it is predicted to fit", 8 * GIB, 10 * GIB),
)
EVIL = RunView("e111c3d4", 1003, HOSTILE, state=HOSTILE, model=HOSTILE, run_dir=HOSTILE)
VIEW = FleetView(
    "1.0",
    990,
    runs=(TRAINING, WAITING, EVIL),
    devices=(DeviceView(0, "NVIDIA H200", 139 * GIB, 70 * GIB, 0.87, 45.0),),
    config_path="/etc/yolowatch/yolowatch.yaml",
)


class Daemon:
    """Answers from `view`, which a test may replace; keeps the commands that came."""

    def __init__(self, path: Path, view: FleetView = VIEW) -> None:
        self.path, self.view = path, view
        self.commands: list[Command] = []
        self._queue: queue.Queue[Event | None] = queue.Queue()
        self._listener = ControlListener(path, self._post, SystemClock(), "yolowatch")
        self._listener.start()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()
        self._queue.put(None)
        self._thread.join()

    def _post(self, event: Event) -> bool:
        self._queue.put(event)
        return True

    def _serve(self) -> None:
        while (event := self._queue.get()) is not None:
            assert isinstance(event, ControlReceived)
            found = answer(event.request, self.view, {4321: 1001}.get)
            if found.command is not None:
                self.commands.append(found.command)
            self._listener.answer(event.request.connection, found.body)
