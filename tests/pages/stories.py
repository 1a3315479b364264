"""Stories as a real supervision makes them: a run of the core with a real journal."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from tests.daemon.scenes import RUN_DIR, Scene
from yolowatch.daemon.front import only_run
from yolowatch.daemon.stories import Draft, Stories
from yolowatch.daemon.telling import merged, story_of
from yolowatch.model.plan import Policy
from yolowatch.model.receipt import FileChange
from yolowatch.model.story import Story
from yolowatch.model.view import FleetView

GIB = 1 << 30
DIFF = """\
@@ line 5 @@
 model: yolov9-e.yaml
-batch: 16
+batch: 4
 imgsz: 640
@@ line 31 @@
 nbs: 64
-weight_decay: 0.0005
+weight_decay: 0.00050
 warmup_epochs: 3.0"""
CHANGE = FileChange(
    f"{RUN_DIR}/args.yaml",
    "1a" * 32,
    "2b" * 32,
    f"{RUN_DIR}/.yolowatch/originals/1a-args.yaml",
    DIFF,
)
COMMAND = ("yolo", "detect", "train", "data=coco.yaml", "model=yolov9e.yaml", "batch=16")


class Told:
    """A supervision whose incidents are told; `drafts` are what the loop handed over."""

    def __init__(self, folder: Path, policy: Policy | None = None, **spec: object) -> None:
        self.scene = Scene(folder, policy, **spec)
        self.drafts: list[Draft] = []
        shown = only_run(self.scene.core, self.scene.core._records, COMMAND, policy or Policy())
        self.stories = Stories(shown.members, shown.view, self.drafts.append, "gpu-box-07")

    def look(self) -> None:
        self.stories.look(self.scene.at)

    def train(
        self, seconds: int, connection: int = 1, low: float = 8.0, high: float = 20.6
    ) -> None:
        """Samples as of a multi-scale training, a second each."""
        for second in range(seconds):
            self.scene.at += 1.0
            wave = (math.sin(second * 0.9) + math.sin(second * 0.31 + 2) + 2) / 4
            top = low + (high - low) * (0.45 + 0.55 * wave) * min(1.0, 0.55 + second / seconds)
            held = low * (0.8 + 0.1 * wave)
            self.scene.tell(
                "sample",
                connection,
                phase="forward",
                epoch=12,
                step=second + 1,
                batch=16,
                seconds=1.0,
                allocated_bytes=int(held * GIB),
                allocated_min_bytes=int(low * 0.5 * GIB),
                allocated_max_bytes=int(top * GIB),
                reserved_bytes=int(min(top * 1.04, 23.0) * GIB),
                peak_bytes=int(21 * GIB),
                capacity_bytes=int(23.5 * GIB),
            )
            self.look()

    def healed(self) -> None:
        """Memory ran out, and the run trains again."""
        self.scene.carry_out("rewrite")
        self.scene.done(files=(CHANGE,))
        self.scene.at += 3
        self.scene.done(seconds=2.5)
        self.look()
        self.scene.at += 6
        self.scene.done()
        self.scene.connect(2)
        self.scene.describe(2, batch=4, accumulate=16)
        self.look()

    def story(self, number: int = -1) -> Story:
        """The story as it is told by now."""
        (*_, incident) = self.scene.incidents()[: number if number >= 0 else None]
        kept: Story | None = None
        for draft in self.drafts:
            if draft.incident.id == incident.id:
                kept = merged(draft, kept, story_of(self.scene.journal, incident.id))
        assert kept is not None
        return kept


def healed_story(folder: Path) -> Story:
    """Of a training that ran out of memory in epoch 13 and trains again."""
    told = Told(
        folder, image_size_min=320, image_size_max=960, model="yolov9e.yaml", data="coco.yaml"
    )
    told.scene.start()
    told.scene.train()
    told.train(560)
    told.scene.run_out_of_memory()
    told.look()
    told.healed()
    told.train(110, 2, 4.0, 13.0)
    told.scene.wait(0.5)
    told.look()
    return told.story()


def refused_story(folder: Path) -> Story:
    """Of a training for which no lever was allowed."""
    told = Told(folder, replace(Policy(), levers=("allocator",)))
    told.scene.start()
    told.scene.train()
    told.train(60)
    told.scene.run_out_of_memory()
    told.look()
    return told.story()


def fleet(folder: Path) -> tuple[FleetView, Told]:
    """All runs at a glance, of the same training while it runs."""
    told = Told(folder, model="yolov9e.yaml")
    told.scene.start()
    told.scene.train()
    told.train(240)
    return told.stories.overview.view, told
