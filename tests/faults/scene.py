"""What the tests of faults share: the miniature training under yolowatch, and what it trained."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.trainers.scene import Scene

MINIATURE = Path(__file__).with_name("miniature") / "train.py"
PLAYED = Path(__file__).with_name("played") / "train.py"
LIMITING = Path(__file__).parents[1] / "trainers" / "limiting_callbacks"
EPOCHS = 3
IMAGES = 64


@dataclass
class Miniature(Scene):
    """A directory in which the miniature trains, and runs out of memory in its second epoch.

    Or PLAYED in its place, which needs no torch.
    """

    program: Path = MINIATURE

    def __post_init__(self) -> None:
        super().__post_init__()
        site = shutil.copytree(LIMITING, self.root / "site")
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.environment |= {
            "PYTHONPATH": str(site),
            "LIMIT_FILE": str(self.root / "limit"),
            "FACTS": str(self.root / "facts.jsonl"),
            "OMP_NUM_THREADS": "1",
        }

    @property
    def last(self) -> Path:
        return self.run_dir / "weights" / "last.pt"

    def training(self, *words: str) -> tuple[str, ...]:
        """The command line of a run of three epochs."""
        return (
            *(str(self.python), str(self.program), "--epochs", str(EPOCHS)),
            *("--images", str(IMAGES), "--project", str(self.root / "runs"), "--name", "run"),
            *words,
        )

    def unlimited(self) -> None:
        """Let it not run out of memory."""
        del self.environment["PYTHONPATH"]

    def trained(self, event: str) -> list[dict[str, Any]]:
        """The lines of this kind in the training's own log, oldest first."""
        path = self.run_dir / "trained.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in map(json.loads, lines) if line["event"] == event]


def check_each_epoch_once(scene: Miniature, attempts: int = 2) -> None:
    """The run finished: every epoch once in the table, in the log and in the weights.

    It was started so many times, each time where the one before had stopped; no image but those of
    the epoch that failed was trained on twice.
    """
    assert scene.epochs() == list(range(EPOCHS))
    starts = scene.trained("start")
    assert len(starts) == attempts, starts
    assert len({start["pid"] for start in starts}) == attempts
    assert [line["epoch"] for line in scene.trained("epoch")] == list(range(EPOCHS))
    assert [line["epoch"] for line in scene.trained("saved")] == list(range(EPOCHS))
    (end,) = scene.trained("end")
    assert end["pid"] == starts[-1]["pid"]
    assert end["images_seen"] == EPOCHS * IMAGES, "the weights saw every image of every epoch once"
    seen = Counter((line["pid"], line["epoch"]) for line in scene.trained("batch"))
    for earlier, later in pairwise(starts):
        assert max(e for pid, e in seen if pid == earlier["pid"]) <= later["epoch"]
    assert all(start["batch"] * start["accumulate"] == 64 for start in starts)
