"""What a healed out-of-memory failure costs the science: loss and mAP beside a run without one.

    python bench/science.py [--seeds N] [--record]

The same small Ultralytics training for several seeds, each once without a limit and once under a
real one that makes its second epoch fail: `yolowatch run` heals it with a smaller batch and
accumulation. Compared is the last row of results.csv. The spread between the seeds of the
unconstrained runs says what a difference may be and mean nothing.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.support import machine
from tests import environments
from tests.trainers.scene import Scene, make_images

FREE, HEALED = VARIANTS = ("unconstrained", "healed")
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
limit and went on with batch {batches} and the same effective batch. Last epoch, mean and standard
deviation over the seeds; *difference* is healed less unconstrained, seed by seed."""


def trained(root: Path, python: Path, data: Path, seed: int, variant: str) -> dict[str, Any]:
    """One training to its end: its last row, and the batch that it ended with."""
    scene = Scene(root, python, data)
    scene.environment["OMP_NUM_THREADS"] = str(len(os.sched_getaffinity(0)))
    root.mkdir(parents=True)
    part = 0.6 if variant == HEALED else 0
    command = scene.capped(seed=seed, part=part, **SETTINGS)
    if variant == HEALED:
        command = scene.supervised(command)
    done = scene.run(command, seconds=900)
    facts = scene.facts()
    if done.returncode != 0 or (len(facts) > 1) != (variant == HEALED):
        sys.exit(f"{variant}, seed {seed}: not what is measured here\n{done.stdout[-3000:]}")
    with (scene.run_dir / "results.csv").open() as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    if len(rows) != EPOCHS:
        sys.exit(f"{variant}, seed {seed}: {len(rows)} epochs")
    figures = {name: sum(float(rows[-1][c]) for c in columns) for name, columns in FIGURES.items()}
    return {"seed": seed, "variant": variant, "batch": facts[-1]["batch"], **figures}


def page(document: Mapping[str, Any]) -> str:
    """The results for people."""
    found = {v: [r for r in document["runs"] if r["variant"] == v] for v in VARIANTS}
    batches = sorted({run["batch"] for run in found[HEALED]})
    text = TEXT.format(
        seeds=len(found[FREE]),
        images=IMAGES,
        epochs=EPOCHS,
        batch=BATCH,
        batches=" or ".join(map(str, batches)),
    )
    lines = [
        "# What a healed failure costs the science",
        "",
        machine.paragraph(machine.sentence(document["machine"])),
        machine.paragraph(text),
        "| figure | unconstrained | healed | difference | its median |",
        "|---|---|---|---|---|",
    ]
    for name in FIGURES:
        free, healed = ([run[name] for run in found[v]] for v in VARIANTS)
        apart = [b - a for a, b in zip(free, healed, strict=True)]
        spans = " | ".join(f"{mean(each):.4f} ± {stdev(each):.4f}" for each in (free, healed))
        lines.append(
            f"| {name} | {spans} | {mean(apart):+.4f} ± {stdev(apart):.4f} | {median(apart):+.4f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="at least 2; default: 5")
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    options = parser.parse_args()
    python = environments.trainer_python("ultralytics")
    described = machine.describe(python, os.environ)
    runs = []
    with tempfile.TemporaryDirectory(prefix="yolowatch-bench-") as name:
        root = Path(name)
        data = make_images(python, root / "images", IMAGES)
        for seed in range(max(options.seeds, 2)):
            for variant in VARIANTS:
                folder = root / f"{variant}-{seed}"
                runs.append(trained(folder, python, data, seed, variant))
                machine.say(f"{variant}, seed {seed}: mAP50 {runs[-1]['mAP50']:.4f}")
    document = {"machine": described, "runs": runs}
    text = page(document)
    print(text)
    if options.record:
        machine.record("science", document, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
