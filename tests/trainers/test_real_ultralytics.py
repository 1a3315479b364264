"""The real trainer agrees: its checkpoints are read, its commands resume and start again."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from tests.trainers.test_ultralytics import COMMANDS, NO_COMMANDS
from yolowatch.model.plan import Edits
from yolowatch.trainers import ultralytics
from yolowatch.trainers.checkpoint import CheckpointUnreadable, read_facts, resumable
from yolowatch.trainers.ultralytics import (
    fresh_command,
    is_command,
    resume_command,
    rewrite_args,
    trim_results,
)

pytestmark = [pytest.mark.trainers, pytest.mark.timeout(600)]

PROGRAMS = Path(__file__).with_name("programs")
EPOCHS = 3


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "False",
        "YOLO_CONFIG_DIR": str(folder / "config"),
        "MPLCONFIGDIR": str(folder / "config"),
        "OMP_NUM_THREADS": "2",
    }


def run(argv: Sequence[str | Path], folder: Path, stdin: str | None = None) -> str:
    (folder / "config").mkdir(exist_ok=True)
    done = subprocess.run(
        argv,
        cwd=folder,
        env=environment(folder),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def pickle_of(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("/data.pkl"))
        return archive.read(name)


@pytest.fixture(scope="module")
def checkpoints(trainer_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    run([trainer_python, PROGRAMS / "make_checkpoints.py", folder], folder)
    return folder


@pytest.mark.parametrize("name", ["last.pt", "protocol4.pt"])
def test_real_checkpoints_are_read(checkpoints: Path, name: str) -> None:
    facts = read_facts(pickle_of(checkpoints / name))
    assert (facts.epoch, facts.optimizer) == (3, True)
    assert facts.keys[:3] == ("epoch", "best_fitness", "model")
    assert resumable(facts) is None


def test_a_real_finished_checkpoint_is_told_from_one_that_can_go_on(checkpoints: Path) -> None:
    facts = read_facts(pickle_of(checkpoints / "finished.pt"))
    assert (facts.epoch, facts.optimizer) == (-1, False)
    assert resumable(facts) is not None


def test_a_real_checkpoint_cut_short_is_unreadable(checkpoints: Path) -> None:
    data = pickle_of(checkpoints / "last.pt")
    for part in (0.1, 0.5, 0.999):
        with pytest.raises(CheckpointUnreadable):
            read_facts(data[: int(len(data) * part)])


def test_words_are_joined_as_the_trainer_joins_them(trainer_python: Path, tmp_path: Path) -> None:
    lists = [each[each.index("yolo") + 1 :] for each in COMMANDS if "yolo" in each]
    lists += [
        ["batch", "=", "16"],
        ["batch=", "16", "imgsz", "=64"],
        ["data=", "a=b.yaml"],
        ["imgsz=[3,", "640,", "640]", "batch=1"],
        ["a", "=", "b=c", "d"],
        ["freeze=[[1],", "[2]]"],
    ]
    program = PROGRAMS / "join_words.py"
    output = run([trainer_python, program], tmp_path, json.dumps(lists))
    theirs = json.loads(output.splitlines()[-1])  # it greets a new user first
    ours = [ultralytics._joined(each) for each in lists]
    bare = [[word.removeprefix("--").removesuffix(",") for word in each] for each in theirs]
    assert ours == bare
    assert len(NO_COMMANDS) > 0


# ---------------------------------------------------------------- a training that is interrupted


class Interrupted:
    """A real training that was killed after its first epoch, and the command that started it."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.folder = folder
        self.run_dir = folder / "runs" / "one"
        run([python, PROGRAMS / "make_images.py", folder / "images"], folder)
        yolo = python.with_name("yolo")
        launcher = [str(yolo)] if yolo.exists() else [str(python), "-m", "ultralytics.cfg"]
        self.argv = [
            *launcher, "detect", "train", "model=yolo11n.yaml",
            f"data={folder / 'images' / 'data.yaml'}", f"epochs={EPOCHS}", "batch", "=", "16",
            "imgsz=64", "device=cpu", "workers=0", "plots=False", "save_period=5",
            f"project={folder / 'runs'}", "name=one",
        ]  # fmt: skip
        self.start_and_kill()

    def start_and_kill(self) -> None:
        log = self.folder / "first.log"
        with log.open("w") as output:
            child = subprocess.Popen(
                self.argv,
                cwd=self.folder,
                env=environment(self.folder),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            deadline = time.monotonic() + 240
            while not self._saved() and child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            alive = child.poll() is None
            child.kill()
            child.wait()
        assert alive, log.read_text()[-3000:]

    def _saved(self) -> bool:
        try:
            return resumable(read_facts(pickle_of(self.run_dir / "weights" / "last.pt"))) is None
        except (OSError, zipfile.BadZipFile, CheckpointUnreadable, ValueError):
            return False

    def epochs(self) -> list[int]:
        with (self.run_dir / "results.csv").open() as table:
            return [int(row["epoch"]) for row in csv.DictReader(table)]


@pytest.fixture(scope="module")
def interrupted(trainer_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    return Interrupted(trainer_python, tmp_path_factory.mktemp("run"))


def test_the_commands_of_a_real_training_resume_and_start_again(interrupted: Interrupted) -> None:
    assert is_command(interrupted.argv)
    run_dir, last = interrupted.run_dir, interrupted.run_dir / "weights" / "last.pt"
    edits = Edits(batch=8, nbs=64, weight_decay=0.0005)

    kept = (read_facts(pickle_of(last)).epoch or 0) + 1
    assert 1 <= kept < EPOCHS
    table, args = run_dir / "results.csv", run_dir / "args.yaml"
    table.write_bytes(trim_results(table.read_bytes(), kept))
    assert interrupted.epochs() == list(range(1, kept + 1))
    args.write_bytes(rewrite_args(args.read_bytes(), edits))
    rewritten = yaml.safe_load(args.read_bytes())

    output = run(resume_command(interrupted.argv, str(last), edits), interrupted.folder)
    assert "Resuming training" in output
    assert interrupted.epochs() == list(range(1, EPOCHS + 1))
    assert resumable(read_facts(pickle_of(last))) == "it is of a finished training"
    own = yaml.safe_load(args.read_bytes())
    assert own["batch"] == rewritten["batch"] == 8
    assert own["save_period"] == 5
    assert [each.name for each in run_dir.parent.iterdir()] == ["one"]

    output = run(fresh_command(interrupted.argv, str(run_dir), edits), interrupted.folder)
    assert "Resuming training" not in output
    assert interrupted.epochs() == list(range(1, EPOCHS + 1))
    own = yaml.safe_load(args.read_bytes())
    assert (own["batch"], own["nbs"], own["weight_decay"]) == (8, 64, 0.0005)
    assert [each.name for each in run_dir.parent.iterdir()] == ["one"]
