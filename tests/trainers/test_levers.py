"""Each lever, with real trainers: it does what it says, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import environments
from tests.trainers.scene import REPOSITORY, Scene

pytestmark = pytest.mark.trainers

DATA = Path(__file__).parent / "data"
PROGRAMS = Path(__file__).parent / "programs"
NETWORKS = {
    "ultralytics": "yolo11n.yaml",
    "yolov5": "yolov5n.yaml",
    "yolov9": str(DATA / "yolov9-blocks.yaml"),
}


@pytest.mark.slow
@pytest.mark.slice
@pytest.mark.parametrize("trainer", NETWORKS)
def test_checkpointing_learns_the_same_with_less(trainer: str, tmp_path: Path) -> None:
    scene = Scene(tmp_path, environments.trainer_python(trainer), tmp_path / "none")
    scene.environment |= environments.trainer_variables(tmp_path)

    def said(what: str) -> dict[str, Any]:
        program = str(PROGRAMS / "checkpointing.py")
        command = (str(scene.python), program, trainer, NETWORKS[trainer], what)
        done = scene.run(command, {"PYTHONPATH": str(REPOSITORY)})
        assert done.returncode == 0, done.stdout[-3000:]
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    told = said("compare")
    assert told["blocks"] == told["counted"][0][0] > 0
    assert told["counted"] == [[told["blocks"], 0], [told["blocks"], told["blocks"]]]
    assert told["difference"] <= 1e-5, "gradients differ by more than rounding"
    assert told["different_buffers"] == [], "BatchNorm has counted a batch twice"
    assert told["tracked"] > 0
    assert told["evaluates"]
    plain, checkpointed = said("plain")["peak"], said("checkpointed")["peak"]
    print(f"{trainer}: peak {plain / 2**20:.0f} MiB, checkpointed {checkpointed / 2**20:.0f} MiB")
    assert checkpointed < 0.85 * plain


@pytest.mark.slow
@pytest.mark.parametrize(
    "trainer", ["ultralytics", pytest.param("yolov5", marks=pytest.mark.slice), "yolov9"]
)
def test_checkpointing_learns_the_same_in_ranks(trainer: str, tmp_path: Path) -> None:
    """Two real ranks, which average their gradients as this trainer has them do it."""
    scene = Scene(tmp_path, environments.trainer_python(trainer), tmp_path / "none")
    scene.environment |= environments.trainer_variables(tmp_path)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    program = str(PROGRAMS / "checkpointing.py")
    command = (str(scene.python), *launcher, program, trainer, NETWORKS[trainer], "ranks")
    done = scene.run(command, {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-3000:]
    every = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("[{")))
    assert len(every) == 2
    for told in every:
        assert told["blocks"] > 0
        assert told["same_names"] == [True] * told["steps"] == [True] * 3
        assert told["difference"] <= 1e-5, "gradients differ by more than rounding"
        assert told["different_buffers"] == [], "BatchNorm has counted a batch twice"
