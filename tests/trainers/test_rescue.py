"""A failure is answered in the process itself: it goes on, and learns what it would have learnt.

Held against the same training without a limit: all weights, all BatchNorm statistics and the
optimizer's whole state after the very step that failed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.scene import Scene

pytestmark = [pytest.mark.trainers, pytest.mark.slow]

HERE = Path(__file__).parent
SAME = 1e-3  # of the largest number of a tensor: gradients are added up in another order
BATCH = 3  # the last one of the only epoch


def rescued(scene: Scene, command: tuple[str, ...]) -> dict[str, Any]:
    """Train with a limit that the last batch exceeds in its forward pass, and without one."""
    policy = scene.root / "policy.yaml"
    policy.write_text("rescue: true\n")
    kept = [scene.root / name for name in ("free.pt", "limited.pt")]
    for path, part in zip(kept, ("0", "0.8"), strict=True):
        given = {
            "PYTHONPATH": str(HERE / "rescuing"),
            "BATCH": str(BATCH),
            "PART": part,
            "WEIGHTS": str(path),
            "OMP_NUM_THREADS": "1",
        }
        limited = part != "0"
        line = scene.supervised(command, "--policy", str(policy)) if limited else command
        done = scene.run(line, given)
        assert done.returncode == 0, done.stdout[-4000:]
        assert "the hook failed" not in done.stdout
    apart = (scene.python, HERE / "programs" / "apart.py", *kept)
    difference = float(subprocess.check_output(apart, text=True))
    assert difference < SAME
    return scene.shown()


def check(shown: dict[str, Any]) -> None:
    """One process, a failure that was a real one, and a receipt for what has changed."""
    assert len(shown["attempts"]) == 1
    # That memory was short may be reported besides.
    (incident,) = [each for each in shown["incidents"] if each["outcome"] == "rescued"]
    assert incident["kind"] == "cpu-oom"
    assert "out of memory in forward" in incident["sentence"]
    (receipt,) = [r for r in shown["receipts"] if r["levers"][0]["name"] == "checkpointing"]
    assert receipt["resume"]["start"] == "live"
    assert receipt["costs"]["steps_lost"] == 0


@pytest.mark.slice
@pytest.mark.timeout(600)
def test_a_step_of_ultralytics(scene: Scene) -> None:
    check(rescued(scene, scene.yolo("batch=11", "epochs=1", "imgsz=160", "seed=1")))
