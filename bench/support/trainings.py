"""Trainings that wait for a baton, bare or with the real hook, and where all of it lies."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.support.machine import ROOT
from tests import environments
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.listener import Listener
from yolowatch.edges.stage import stage
from yolowatch.model.events import Event

PROGRAMS = ROOT / "bench" / "programs"
# Where memory lies and how names are hashed makes equal processes differ by percents.
ALIKE = ("setarch", "-R") if shutil.which("setarch") else ()


@dataclass
class Bench:
    """Where everything lies, and what the hook said."""

    python: Path
    folder: Path
    stage: Path
    socket: Path
    cpu: int | None
    environment: dict[str, str]
    events: list[Event] = field(default_factory=list)

    def start(
        self, variant: str, hooked: bool, changes: Mapping[str, Any], **pipes: Any
    ) -> subprocess.Popen[str]:
        """Start the training program; `variant` names its run."""
        environment = dict(self.environment)
        if hooked:
            inherited = environment.get("PYTHONPATH")
            stage_path = str(self.stage)
            environment["PYTHONPATH"] = (
                stage_path if not inherited else stage_path + os.pathsep + inherited
            )
            environment["YOLOWATCH_SOCKET"] = str(self.socket)
        settings = {
            "project": str(self.folder / "runs"),
            "name": variant.replace(" ", "-"),
            "model": str(PROGRAMS / "tiny.yaml"),
            "cpu": self.cpu,
            "baton": None,
            "hollow": False,
            "timed": False,
            **changes,
        }
        return subprocess.Popen(
            [*ALIKE, self.python, str(PROGRAMS / "steps.py"), json.dumps(settings)],
            env=environment,
            stdin=subprocess.DEVNULL,
            text=True,
            **pipes,
        )

    def data(self, images: int, size: int) -> Path:
        """A data set of so many training images; the same ones every time."""
        folder = self.folder / f"images-{images}-{size}"
        subprocess.run(
            [sys.executable, ROOT / "yolowatch/demo/images.py", folder, str(images), str(size)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return folder / "data.yaml"


class Runner:
    """One training that waits for the baton."""

    def __init__(
        self, bench: Bench, variant: str, hooked: bool, changes: Mapping[str, Any]
    ) -> None:
        self.variant = variant
        theirs_in, self._out = os.pipe()
        ours_in, theirs_out = os.pipe()
        self._log = bench.folder / f"{variant.replace(' ', '-')}.log"
        with self._log.open("w") as log:
            self._process = bench.start(
                variant,
                hooked,
                {**changes, "baton": [theirs_in, theirs_out]},
                stdout=log,
                stderr=log,
                pass_fds=(theirs_in, theirs_out),
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self._lines = os.fdopen(ours_in)
        self.pid = self._process.pid
        self._report()  # its first epoch: imports, caches, the optimizer's state

    def turn(self, word: bytes = b"+") -> dict[str, Any]:
        """One block; what it took."""
        os.write(self._out, word)
        return self._report()

    def end(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._out, b".")
        self._process.wait()
        os.close(self._out)
        self._lines.close()

    def _report(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            sys.exit(f"{self.variant} ended early:\n{self._log.read_text()[-3000:]}")
        report: dict[str, Any] = json.loads(line)
        return report


@contextlib.contextmanager
def prepared(cpu: int | None) -> Iterator[Bench]:
    """A staged hook, a listener that keeps what it hears, and a folder for it all."""
    python = environments.trainer_python("ultralytics")
    with tempfile.TemporaryDirectory(prefix="yolowatch-bench-") as name:
        folder = Path(name)
        environment = {**os.environ, **environments.trainer_variables(folder / "settings")}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        for variable in ("PYTHONDONTWRITEBYTECODE", "YOLOWATCH", "YOLOWATCH_SOCKET"):
            environment.pop(variable, None)
        (folder / "state").mkdir(mode=0o700)
        staged = stage(folder / "state")
        bench = Bench(python, folder, staged.path, folder / "hook.sock", cpu, environment)
        lock = threading.Lock()

        def keep(event: Event) -> bool:
            with lock:
                bench.events.append(event)
            return True

        uids = frozenset({os.getuid()})
        listener = Listener(bench.socket, keep, uids=uids, clock=SystemClock())
        listener.start()
        try:
            yield bench
        finally:
            listener.close()
