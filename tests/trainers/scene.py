"""What tests with real trainings share: images, commands under `yolowatch run`, the journal."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = REPOSITORY / "tests" / "programs"
# Freed memory goes back at once: what the kernel counts is then the same run after run.
STEADY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "YOLO_OFFLINE": "1",
    "YOLO_AUTOINSTALL": "False",
    "WANDB_MODE": "disabled",
}


def make_images(python: Path, directory: Path, count: int, size: int = 64) -> Path:
    """A data set of coloured shapes; its data.yaml."""
    program = REPOSITORY / "yolowatch" / "demo" / "images.py"
    subprocess.run((python, program, directory, str(count), str(size)), check=True)
    return directory / "data.yaml"


@dataclass
class Scene:
    """One test's directory, with the commands that it runs there."""

    root: Path
    python: Path
    data: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("YOLOWATCH")}
        self.environment = {**kept, **STEADY, "YOLO_CONFIG_DIR": str(self.data.parent)}

    @property
    def state(self) -> Path:
        return self.root / "state"

    def state_made(self) -> Path:
        """The state directory, made as private as yolowatch itself would."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        return self.state

    @property
    def run_dir(self) -> Path:
        return self.root / "runs" / "run"

    def capped(self, **settings: object) -> tuple[str, ...]:
        """The command of tests/programs/capped.py with these settings."""
        words = [
            f"{k}={json.dumps(v) if not isinstance(v, str) else v}" for k, v in settings.items()
        ]
        program, facts = PROGRAMS / "capped.py", self.root / "facts.jsonl"
        return (
            str(self.python),
            str(program),
            str(self.data),
            str(self.root / "runs"),
            str(facts),
            *words,
        )

    def yolo(self, *words: str) -> tuple[str, ...]:
        """The `yolo` command of the trainer's environment, one small training."""
        return (
            *(str(self.python.parent / "yolo"), "detect", "train", "model=yolo11n.yaml"),
            *(f"data={self.data}", f"project={self.root / 'runs'}", "name=run", "imgsz=64"),
            *("device=cpu", "workers=0", "plots=False", "val=False", "warmup_epochs=0", *words),
        )

    def yolowatch(self, *words: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "yolowatch", *words)

    def supervised(self, command: Sequence[str], *options: str) -> tuple[str, ...]:
        """`yolowatch run` around a command, with a state directory of the test's own."""
        return self.yolowatch("run", "--state-dir", str(self.state), *options, "--", *command)

    def run(
        self, command: Sequence[str], more: Mapping[str, str] | None = None, seconds: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; the output of both streams together."""
        process = subprocess.Popen(
            command,
            env={**self.environment, **(more or {})},
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the training too, which outlives yolowatch
            raise
        (self.root / "output.txt").write_text(output)  # whole, for whoever looks for a cause
        return subprocess.CompletedProcess(command, process.returncode, output)

    def start(self, command: Sequence[str], **more: Any) -> subprocess.Popen[str]:
        """Start a command in a session of its own, its output in `output.txt`."""
        with (self.root / "output.txt").open("w") as output:
            return subprocess.Popen(
                command,
                env=self.environment,
                cwd=self.root,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                **more,
            )

    def shown(self) -> dict[str, Any]:
        """`yolowatch show` of the only run, as JSON."""
        runs = self._json("runs")
        assert len(runs) == 1
        shown = self._json("show", runs[0]["id"])
        assert isinstance(shown, dict)
        return shown

    def _json(self, command: str, *words: str) -> Any:
        line = self.yolowatch(command, "--state-dir", str(self.state), "--json", *words)
        return json.loads(
            subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout
        )

    def facts(self) -> list[dict[str, Any]]:
        """What each process trained with, as the trainer itself said."""
        lines = (self.root / "facts.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def epochs(self, run_dir: Path | None = None) -> list[int]:
        """The epochs in results.csv, in order; they are its first column in every release."""
        with ((run_dir or self.run_dir) / "results.csv").open() as file:
            return [int(row[0]) for row in list(csv.reader(file))[1:]]
