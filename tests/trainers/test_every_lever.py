"""Every lever that a trainer has is in force after a resume, as the hook observes it.

One training for each trainer: it is killed after its first checkpoint, and resumed by the product's
own launcher with all its levers at once. A cell of the table in docs/levers.md that is not refused
has a test here, which the first test holds against that table.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests import environments
from tests.daemon.parts import FakeClock, FakeHands
from tests.trainers import test_ranks
from tests.trainers.scene import Scene, make_images
from tests.trainers.test_callbacks_family import DATA, small_scene, training
from tests.trainers.test_in_force import listening
from yolowatch.daemon.mismatch import mismatch
from yolowatch.decide.ladder import Recipe, batch_edits
from yolowatch.edges.nvml import NoNvml
from yolowatch.hands.launching import Hooking, Launcher, as_child
from yolowatch.model.actions import Launch
from yolowatch.model.opt_in import OPT_IN
from yolowatch.model.plan import COSTS, Edits, Policy, Start
from yolowatch.model.receipt import ResumePoint
from yolowatch.model.run import RunSpec
from yolowatch.trainers.families import FAMILIES, family

Said = list[Any]
ACCELERATED = str(Path(__file__).parent / "accelerated")
BATCH, SMALLER_BATCH, VALIDATION_BATCH = 8, 4, 2
SAVED_SECONDS = 180.0
# The edit of each lever beside the batch, which follows from the run.
EDITS: dict[str, dict[str, Any]] = {
    "validation batch": {"validation_batch": VALIDATION_BATCH},
    "allocator": {"expandable_segments": True},
    "cache": {"cache": "disk"},
    "workers": {"workers": 1},
    "pin memory": {"pin_memory": False},
    "checkpointing": {"checkpointing": True},
    "multi-scale": {"multi_scale": 0.25},
    "amp": {"amp": "fp16"},
    "8-bit optimizer": {"optimizer_bits": 8},
    "image size": {"image_size": 96},
    "freeze": {"freeze": 5},
    "pruning": {"pruning": 0.25},
}


@dataclass(frozen=True)
class Attempt:
    """What one process said: its last description, and the shapes of its batches by phase."""

    spec: RunSpec
    shapes: dict[str, set[tuple[int, int]]]  # (batch, height)

    def batches(self, phase: str) -> set[int]:
        return {batch for batch, _height in self.shapes.get(phase, ())}

    def heights(self) -> set[int]:
        return {height for _batch, height in self.shapes.get("backward", ())}


def in_range(each: Attempt) -> bool:
    spec, heights = each.spec, each.heights()
    assert spec.image_size_min is not None
    assert spec.image_size_max is not None
    assert heights
    return spec.image_size_min <= min(heights) <= max(heights) <= spec.image_size_max


# Of each lever: whether it is in force.
IN_FORCE: dict[str, Callable[[Attempt], bool]] = {
    "validation batch": lambda each: (
        each.spec.validation_batch == VALIDATION_BATCH
        and each.batches("validation") == {VALIDATION_BATCH}
    ),
    "allocator": lambda each: "expandable_segments:True" in (each.spec.allocator or ""),
    "cache": lambda each: each.spec.cache == "disk",
    "workers": lambda each: each.spec.workers == 1,
    "pin memory": lambda each: each.spec.pin_memory is False,
    "batch": lambda each: (
        each.spec.batch == SMALLER_BATCH and each.batches("backward") == {SMALLER_BATCH}
    ),
    "checkpointing": lambda each: each.spec.checkpointed == each.spec.checkpointable != 0,
    "multi-scale": lambda each: each.spec.multi_scale == 0.25 and in_range(each),
    "amp": lambda each: each.spec.precision == "fp16",
    "8-bit optimizer": lambda each: (each.spec.optimizer or "").endswith("8bit"),
    "image size": lambda each: each.spec.image_size == 96,
    "freeze": lambda each: each.spec.frozen == 5,
    "pruning": lambda each: (each.spec.pruned or 0.0) > 0.1,
}
# What cannot be seen in one process has a test of its own.
ELSEWHERE = {
    ("ultralytics", "one gpu"): test_ranks.test_one_device_goes_on_alone,
    ("ultralytics", "more gpus"): test_ranks.test_one_device_is_spread_over_an_idle_one,
}
CELLS = [
    (each.NAME, lever)
    for each in FAMILIES
    for lever in COSTS | OPT_IN
    if lever in each.LEVERS and (each.NAME, lever) not in ELSEWHERE
]


def test_every_legal_cell_of_the_table_is_tested(repo_root: Path) -> None:
    """The page that users read says what a trainer has; each of that is tested below."""
    text = (repo_root / "docs" / "levers.md").read_text()
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    head = next(row for row in rows if row[0] == "Lever")
    table = rows[rows.index(head) + 2 :]
    legal = {
        (trainer, row[0])
        for row in table
        if len(row) == len(head)
        for trainer, cell in zip(head[2:], row[2:], strict=True)
        if not cell.startswith("refused:")
    }
    tested = {(trainer, lever) for trainer, lever in CELLS if lever in IN_FORCE}
    assert legal == tested | ELSEWHERE.keys()
    assert set(EDITS) | {"batch"} == set(IN_FORCE)


def attempt(said: Said) -> Attempt:
    """What the hook of one process observed; it has not failed."""
    assert [each for kind, each in said if kind == "fault"] == []
    told = [each for kind, each in said if kind == "run"][-1]
    shapes: dict[str, set[tuple[int, int]]] = {}
    for kind, message in said:
        for item in message["items"] if kind == "footprints" else ():
            shapes.setdefault(item[0], set()).add((item[1], item[2]))
    names = {each.name for each in fields(RunSpec)}
    return Attempt(RunSpec(**{k: v for k, v in told.items() if k in names}), shapes)


def started(trainer: str, root: Path) -> tuple[Scene, tuple[str, ...]]:
    """The scene of a trainer, and a command with everything on that a lever takes away."""
    if trainer == "ultralytics":
        python = environments.trainer_python("ultralytics-opt-in")
        scene = Scene(root, python, make_images(python, root / "images", 64))
        scene.environment |= {"PYTHONPATH": ACCELERATED}
        words = ("batch=8", "nbs=8", "epochs=3", "imgsz=128", "multi_scale=0.5", "val=True")
        return scene, scene.yolo(*words, "workers=2", "cache=ram", "amp=False", "optimizer=AdamW")
    scene = small_scene(trainer, root)
    del scene.environment["PYTHONPATH"]  # nothing is limited
    network = "yolov5n.yaml" if trainer == "yolov5" else str(DATA / "yolov9-blocks.yaml")
    words = ("--batch", str(BATCH), "--cfg", network, "--multi-scale")
    return scene, training(scene, trainer, *words, "--workers", "2", "--cache", "ram")


def saved_once(scene: Scene, command: tuple[str, ...]) -> tuple[Attempt, str]:
    """The training until its first checkpoint is complete, then killed; and that checkpoint."""
    with listening(scene, {}) as (environment, said):
        scene.environment, kept = {**scene.environment, **environment}, scene.environment
        path = ":".join(filter(None, (environment["PYTHONPATH"], kept.get("PYTHONPATH"))))
        scene.environment["PYTHONPATH"] = path
        process = scene.start(command, start_new_session=True)
        scene.environment = kept
        try:
            deadline = time.monotonic() + SAVED_SECONDS
            while not (saved := [each for kind, each in said if kind == "checkpoint"]):
                text = (scene.root / "output.txt").read_text()
                assert process.poll() is None, text[-3000:]
                assert time.monotonic() < deadline, text[-3000:]
                time.sleep(0.1)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return attempt(said), saved[0]["path"]


@cache
def resumed(trainer: str, root: Path) -> tuple[Attempt, Attempt]:
    """The trainer before, and after a resume with all the levers that it has."""
    scene, command = started(trainer, root)
    before, last = saved_once(scene, command)
    user, about = before.spec, family(trainer)
    recipe = Recipe.of(user)
    assert about is not None
    assert recipe is not None
    values = {k: v for lever in about.LEVERS for k, v in EDITS.get(lever, {}).items()}
    edits = batch_edits(recipe, SMALLER_BATCH).over(Edits(**values))
    for name in about.CONFIGURATIONS:
        file = scene.run_dir / name
        if file.exists():
            file.write_bytes(about.rewrite(name, file.read_bytes(), edits))
    hands = FakeHands()
    with listening(scene, {}) as (environment, said):
        hooking = Hooking(Path(environment["PYTHONPATH"]), Path(environment["YOLOWATCH_SOCKET"]))
        launcher = Launcher(
            command,
            scene.environment,
            hooking,
            as_child(hands, lambda _launched: None),
            FakeClock(),
            Policy(),
            NoNvml("no GPU"),
        )
        launcher.launch(Launch(1, edits, ResumePoint(Start.RESUME, "", last, 0)), user)
        ((again, variables, _where),) = hands.launches
        done = scene.run(again, variables)
    assert done.returncode == 0, done.stdout[-3000:]
    after = attempt(said)
    assert mismatch(edits, user, after.spec) is None
    assert after.spec.effective_batch == user.effective_batch == recipe.effective_batch
    return before, after


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("levers")


@pytest.mark.trainers
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("trainer", "lever"),
    [
        pytest.param(trainer, lever, marks=[pytest.mark.slice] * (trainer == "ultralytics"))
        for trainer, lever in CELLS
    ],
)
def test_it_is_in_force_after_the_resume(trainer: str, lever: str, place: Path) -> None:
    root = place / trainer
    root.mkdir(exist_ok=True)
    before, after = resumed(trainer, root)
    assert not IN_FORCE[lever](before), "it was in force already"
    assert IN_FORCE[lever](after)
