"""A GPU with the Python that trains on it, and the commands that the tests run there."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).with_name("programs")


@dataclass(frozen=True)
class Gpu:
    """A CUDA device that the trainer's Python can use, and what it says of itself."""

    python: Path
    facts: Mapping[str, Any]
    environment: Mapping[str, str]

    def run(
        self,
        command: Sequence[str | Path],
        seconds: float,
        more: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end within so many seconds; its output, both streams in one."""
        return subprocess.run(
            command,
            env={**self.environment, **(more or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
        )

    def yolowatch(self, *words: str | Path) -> list[str | Path]:
        """The command line of the yolowatch in this tree."""
        return [sys.executable, "-m", "yolowatch", *words]

    def journal(self, state: Path, *words: str) -> Any:
        """What `yolowatch runs` or `show` prints as JSON."""
        command, *rest = words
        line = self.yolowatch(command, "--state-dir", state, "--json", *rest)
        done = subprocess.run(
            line, env=self.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
        )
        return json.loads(done.stdout)


def said(output: str) -> Any:
    """The JSON object that a program printed on a line of its own, the last of them."""
    return json.loads([line for line in output.splitlines() if line.startswith("{")][-1])


def epochs_of(run_dir: Path) -> list[int]:
    """The epochs in results.csv, in order."""
    with (run_dir / "results.csv").open() as file:
        return [int(float(row["epoch"])) for row in csv.DictReader(file, skipinitialspace=True)]
