"""What a healed out-of-memory failure costs the science: loss and mAP beside a run without one.

    python bench/science.py [--seeds N] [--folder DIRECTORY] [--record]

The same small Ultralytics training for several seeds: without a limit, under a real one that makes
its second epoch fail and under which a part of the batch fits, and, for the first seed, under one
so tight that single images are left. `yolowatch run` heals them with a smaller batch and
accumulation. Compared is the last row of results.csv. The spread between the seeds of the
unconstrained runs says what a difference may be and mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.support import machine
from tests import environments
from tests.trainers.scene import Scene, make_images

FREE, SOME, TIGHT = "unconstrained", "healed", "tight"
# What of a batch's growth stays allowed, and the margin of the plans: what is left for a batch.
PARTS = {FREE: 0, SOME: 0.9, TIGHT: 0.6}
MARGINS = {SOME: "0.01", TIGHT: "0.05"}
TIGHT_SEEDS = 1
IMAGES, EPOCHS, BATCH = 96, 20, 16
SETTINGS = {
    "epochs": EPOCHS,
    "batch": BATCH,
    "nbs": BATCH,
    "imgsz": 64,
    "val": "true",
    "optimizer": "AdamW",
    "lr0": 0.004,
    "mosaic": 0.0,
}
FIGURES = {
    "training loss": ("train/box_loss", "train/cls_loss", "train/dfl_loss"),
    "validation loss": ("val/box_loss", "val/cls_loss", "val/dfl_loss"),
    "mAP50": ("metrics/mAP50(B)",),
    "mAP50-95": ("metrics/mAP50-95(B)",),
}
TEXT = """
Made by `python bench/science.py --seeds {seeds}`: yolo11n from scratch, {images} images of coloured
shapes, {epochs} epochs, batch {batch}. The healed runs failed in their second epoch under a real
limit and went on with a smaller batch and the same effective batch. Last epoch, mean and standard
deviation over the seeds; *difference* is healed less unconstrained, seed by seed."""
NOTE = """
What is left of a difference is BatchNorm, which sees the smaller batches: of a few images each it
may be lost among the seeds, of single images it is not. The receipts say with how many images
BatchNorm computes."""


def trained(root: Path, python: Path, data: Path, seed: int, variant: str) -> dict[str, Any]:
    """One training to its end: its last row, and the batch that it ended with."""
    scene = Scene(root, python, data)
    scene.environment["OMP_NUM_THREADS"] = str(len(os.sched_getaffinity(0)))
    if not (root / "done").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        command = scene.capped(seed=seed, part=PARTS[variant], **SETTINGS)
        if variant != FREE:
            command = scene.supervised(command, "--margin", MARGINS[variant])
        done = scene.run(command, seconds=900)
        if done.returncode != 0:
            sys.exit(f"{variant}, seed {seed}: it failed\n{done.stdout[-3000:]}")
        (root / "done").touch()
    facts = scene.facts()
    if (len(facts) > 1) != (variant != FREE):
        sys.exit(f"{variant}, seed {seed}: not what is measured here: {facts}")
    with (scene.run_dir / "results.csv").open() as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    if len(rows) != EPOCHS:
        sys.exit(f"{variant}, seed {seed}: {len(rows)} epochs")
    figures = {name: sum(float(rows[-1][c]) for c in columns) for name, columns in FIGURES.items()}
    return {"seed": seed, "variant": variant, "batch": facts[-1]["batch"], **figures}


def page(document: Mapping[str, Any]) -> str:
    """The results for people."""
    found = {v: {r["seed"]: r for r in document["runs"] if r["variant"] == v} for v in PARTS}
    text = TEXT.format(seeds=len(found[FREE]), images=IMAGES, epochs=EPOCHS, batch=BATCH)
    lines = [
        "# What a healed failure costs the science",
        "",
        machine.paragraph(machine.sentence(document["machine"])),
        machine.paragraph(text),
        "| figure | unconstrained | limit | batch | seeds | healed | difference | its median |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for variant in (SOME, TIGHT):
        healed = found[variant]
        batches = " or ".join(map(str, sorted({run["batch"] for run in healed.values()})))
        for name in FIGURES:
            apart = [run[name] - found[FREE][seed][name] for seed, run in healed.items()]
            cells = (
                name,
                spread([run[name] for run in found[FREE].values()]),
                "moderate" if variant == SOME else "tight",
                batches,
                str(len(healed)),
                spread([run[name] for run in healed.values()]),
                spread(apart, "+"),
                f"{median(apart):+.4f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", machine.paragraph(NOTE)])


def spread(values: Sequence[float], sign: str = "") -> str:
    """Mean and standard deviation; of a single value there is none."""
    deviation = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{mean(values):{sign}.4f}{deviation}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="at least 2; default: 5")
    parser.add_argument(
        "--folder", type=Path, help="keep the trainings there; what is complete is not made again"
    )
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    options = parser.parse_args()
    python = environments.trainer_python("ultralytics")
    described = machine.describe(python, os.environ)
    runs = []
    with contextlib.ExitStack() as stack:
        root = (options.folder and options.folder.resolve()) or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="yolowatch-bench-"))
        )
        data = make_images(python, root / "images", IMAGES)
        for seed in range(max(options.seeds, 2)):
            for variant in PARTS:
                if variant == TIGHT and seed >= TIGHT_SEEDS:
                    continue
                folder = root / f"{variant}-{seed}"
                runs.append(trained(folder, python, data, seed, variant))
                machine.say(
                    f"{variant}, seed {seed}: batch {runs[-1]['batch']}, "
                    f"mAP50 {runs[-1]['mAP50']:.4f}"
                )
    document = {"machine": described, "runs": runs}
    text = page(document)
    print(text)
    if options.record:
        machine.record("science", document, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
