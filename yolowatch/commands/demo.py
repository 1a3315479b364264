"""`yolowatch demo`: a real training that runs out of memory, and finishes by itself.

Everything in it is real: the trainer, the limit and the failure. Only the limit is chosen, by
measuring the same training once without it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from yolowatch.commands import pages
from yolowatch.edges import terminal
from yolowatch.errors import LaunchError, UsageError
from yolowatch.model.plan import Policy
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import RunState

if TYPE_CHECKING:
    from yolowatch.daemon.app import Outcome
    from yolowatch.daemon.core import Core

SEEDS = (1, 2, 3, 4, 5, 6)
EPOCHS = 4
_MIN_GAP = 0.06  # of the peak's growth: what lies between a size that fits and one that does not
_PROGRAMS = Path(str(resources.files("yolowatch.demo")))
# Freed memory goes back at once, so that the kernel's figure is what the training uses and the
# same limit fails at the same step every time.
_STEADY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "YOLO_OFFLINE": "1",
    "YOLO_AUTOINSTALL": "False",
    "WANDB_MODE": "disabled",
}


@dataclass(frozen=True)
class Calibration:
    """A limit under which this seed fails in epoch `epoch` (from 0) and not before."""

    seed: int
    epoch: int
    capacity_bytes: int
    device: str
    device_bytes: int  # what the device has without the limit


class Demo:
    """Trains, fails, heals and shows the receipt."""

    name = "demo"
    summary = "watch a real training run out of memory and finish by itself"
    description = """\
Train a small real detector on images that are made on the spot, under a memory limit that it will
exceed after its first checkpoint; it resumes with a smaller batch and finishes. Takes about two
minutes on two cores. Needs a Python that has Ultralytics; nothing is downloaded."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--python",
            default=os.environ.get("YOLOWATCH_TRAINER_PYTHON"),
            metavar="PYTHON",
            help="the Python that has Ultralytics (default: $YOLOWATCH_TRAINER_PYTHON)",
        )
        parser.add_argument(
            "--directory",
            type=Path,
            default=Path("yolowatch-demo"),
            metavar="DIR",
            help="where images and runs go; must not exist yet (default: %(default)s)",
        )
        parser.add_argument(
            "--state-dir", type=Path, metavar="DIR", help="where the journal is kept"
        )
        parser.add_argument("--model", default="yolo11n.yaml", help=argparse.SUPPRESS)

    def run(self, arguments: argparse.Namespace) -> int:
        python = _trainer(arguments.python)
        directory = arguments.directory.resolve()
        if directory.exists():
            raise UsageError(f"{directory} exists already; remove it or name another --directory")
        _tell("1/3", "making images")
        data = directory / "images" / "data.yaml"
        made = subprocess.run((python, str(_PROGRAMS / "images.py"), str(data.parent)), check=False)
        if made.returncode != 0:
            raise LaunchError(f"{python} could not make the images; see its message above")
        training = _Training(python, data, directory, arguments.state_dir, arguments.model)
        found = training.calibrate()
        _tell(
            "3/3",
            f"training under a limit of {bytes_text(found.capacity_bytes)} on {found.device}: "
            f"it will run out of memory in epoch {found.epoch + 1} of {EPOCHS}",
        )
        outcome = training.under_limit(found)
        for receipt in outcome.core.healing.receipts:
            terminal.tell(pages.receipt(receipt.to_json(), sys.stderr))
        _tell("done", f"the run is in {directory / 'runs' / 'demo'}")
        return outcome.exit_status


class _Training:
    def __init__(
        self, python: str, data: Path, directory: Path, state_dir: Path | None, model: str
    ) -> None:
        self._python = python
        self._data = data
        self._directory = directory
        self._state_dir = state_dir
        self._model = model
        self._environment = {
            **os.environ,
            **_STEADY,
            "YOLO_CONFIG_DIR": str(data.parent),
        }

    def _command(self, name: str, seed: int, *more: str) -> tuple[str, ...]:
        return (
            *(self._python, str(_PROGRAMS / "train.py")),
            *("--data", str(self._data), "--project", str(self._directory / "runs")),
            *("--name", name, "--seed", str(seed), "--epochs", str(EPOCHS)),
            *("--model", self._model, *more),
        )

    def calibrate(self) -> Calibration:
        """Train without a limit until a seed shows its largest size after a checkpoint."""
        from yolowatch.daemon.app import Options, supervise  # dear to import

        for seed in SEEDS:
            log = self._directory / f"calibration-{seed}.log"
            command = self._command(f"calibration-{seed}", seed, "--log", str(log))
            policy = Policy(mode="observe")
            options = Options(
                command, policy, self._state_dir, quiet=True, environment=self._environment
            )
            progress = _Progress("2/3", f"measuring without a limit, seed {seed}")
            # One that does not bind: what counts is then the same figure as under the real one.
            with _data_limit(psutil.virtual_memory().total * 9 // 10):
                outcome = supervise(options, progress)
            if outcome.exit_status != 0:
                raise LaunchError(
                    f"the training fails even without a limit; its output is in {log}, "
                    f"and {self._python} must be able to run it"
                )
            found = choose_limit(outcome.core.state(), seed)
            if found is not None:
                return found
        raise LaunchError("no seed puts its largest images after the first checkpoint; try again")

    def under_limit(self, found: Calibration) -> Outcome:
        """The training itself, with the limit in force."""
        from yolowatch.daemon.app import Options, supervise  # dear to import

        more: tuple[str, ...] = ()
        if found.device != "cpu":
            fraction = found.capacity_bytes / found.device_bytes
            more = ("--memory-fraction", f"{fraction:.6f}")
        options = Options(
            self._command("demo", found.seed, *more),
            Policy(prevention=False),  # what is shown is a failure, and how it is healed
            self._state_dir,
            environment=self._environment,
        )
        if more:
            return supervise(options)
        with _data_limit(found.capacity_bytes):
            return supervise(options)


def choose_limit(state: RunState, seed: int) -> Calibration | None:
    """A limit between what the first epochs took and what a later one did; None without such a
    gap.
    """
    exact = [f for f in state.footprints if f.exact and f.epoch is not None]
    base = min((f.base_bytes for f in state.footprints if f.base_bytes is not None), default=None)
    if not exact or base is None or state.spec is None or not state.samples:
        return None
    highest = max(f.peak_bytes for f in exact)
    for epoch in range(EPOCHS - 1):
        before = max((f.peak_bytes for f in exact if (f.epoch or 0) <= epoch), default=None)
        later = [f for f in exact if (f.epoch or 0) > epoch]
        if before is None or not later:
            continue
        gap = highest - before
        if gap >= _MIN_GAP * (highest - base):
            limit = before + gap // 2
            fails = min(f.epoch or 0 for f in later if f.peak_bytes > limit)
            whole = max(s.memory.capacity_bytes or 0 for s in state.samples)
            return Calibration(seed, fails, limit, state.spec.device or "cpu", whole)
    return None


@contextlib.contextmanager
def _data_limit(limit_bytes: int) -> Iterator[None]:
    """A soft limit on data pages for every process that is started meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


class _Progress:
    """Prints how far a quiet training is, once an epoch."""

    def __init__(self, stage: str, what: str) -> None:
        self._epoch: int | None = None
        _tell(stage, what)

    def __call__(self, core: Core) -> None:
        epoch = core.state().last_epoch_ended
        if epoch is not None and epoch != self._epoch:
            self._epoch = epoch
            _tell("   ", f"epoch {epoch + 1} of {EPOCHS}")


def _trainer(python: str | None) -> str:
    if not python:
        raise UsageError(
            "no Python with Ultralytics is named; set YOLOWATCH_TRAINER_PYTHON or use --python, "
            "or run `make demo`, which makes one"
        )
    found = shutil.which(python)
    if found is None:
        raise UsageError(f"{python} is no program; name the Python that has Ultralytics")
    return found


def _tell(stage: str, what: str) -> None:
    terminal.tell(f"yolowatch demo {stage}: {what}")
