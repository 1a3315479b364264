"""How well the peak of a training is forecast: real short trainings of three trainers on the CPU.

    python bench/forecast.py [--runs N] [--seconds S] [--folder DIRECTORY] [--record]
    python bench/forecast.py --part K/N [...]

Each training is one epoch of 55 batches and its validation. What it says through the hook until
its 5th, 10th, 25th and 50th batch is given to the product's own forecast, which is held against
the most that the process took until its end, as the kernel counted it: in growth over what it had
in use before its first batch. What is complete is kept in the folder and not made again. With
`--part K/N` only each Nth training is made, beginning with the Kth, so that several programs can
share the work.
`--corpus FILE` writes what tests/decide holds the forecast to.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.support import machine
from bench.support.footprints import MARKS, Ground, shapes
from bench.support.replay import Row, corpus, figures, rows
from tests import environments

MIB = 1 << 20
WANTED = 100
TEXT = """
Made by `python bench/forecast.py`: {count} trainings on the CPU (of {wanted} that are wanted), of
{trainers}; freed memory goes back to the system at once, so that what the kernel counts is what the
training holds. Figures are growth over what was in use before the first batch. *Error* is the
point's, as a part of what was taken; *exceeded* counts trainings that took more than the bound;
*caution* is how far the bound lies above the point. *To come* are the trainings that at this
moment had not yet taken what they took in the end. The figures that the forecast believes of a CPU
before it has seen a validation or a save were read off {seen} of these trainings, those marked in
the table below; the others had no part in them."""
# From these the beliefs of `forecast_later` were read: the first eleven, then every other one.
CALIBRATED = {shape.name for shape in shapes()[::2]} | {
    "yolov5-yolov5-small-b8-160m-0",
    "yolov5-yolov5-small-b8-128m-0",
    "yolov5-yolov5-small-b4-96-0",
    "ultralytics-yolo11n-b2-160m-0",
    "yolov5-yolov5n-b2-64-0",
    "ultralytics-ultralytics-small-b4-128m-0",
    "yolov5-yolov5-small-b8-128-1",
    "yolov5-yolov5-small-b2-160m-1",
    "ultralytics-ultralytics-small-b4-128-0",
    "ultralytics-ultralytics-small-b4-64-0",
    "yolov5-yolov5-small-b2-160-0",
}


def trained(
    folder: Path, wanted: int, seconds: float, part: tuple[int, int]
) -> dict[str, dict[str, Any]]:
    """The trainings, those of this part that are missing made now as far as the time allows; oldest
    first.
    """
    kept, began = folder / "runs", time.monotonic()
    kept.mkdir(parents=True, exist_ok=True)
    chosen = shapes()[:wanted][part[0] - 1 :: part[1]]
    missing = [shape for shape in chosen if not (kept / f"{shape.name}.json").exists()]
    if missing and seconds > 0:
        ground = Ground(folder / f"part-{part[0]}")
        try:
            for shape in missing:
                if time.monotonic() - began > seconds:
                    break
                since = time.monotonic()
                try:
                    found = ground.train(shape)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    machine.say(f"{shape.name} failed: {error}")
                    continue
                part = kept / f"{shape.name}.part"
                part.write_text(json.dumps(found))
                part.rename(kept / f"{shape.name}.json")
                machine.say(f"{shape.name}: {time.monotonic() - since:.1f} s")
        finally:
            ground.close()
    paths = sorted(kept.glob("*.json"), key=lambda path: path.stat().st_mtime)
    return {path.stem: json.loads(path.read_text()) for path in paths}


def table(found: Sequence[Row], title: str) -> list[str]:
    """The figures after each number of batches."""
    head = f"| {title} | trainings | median error | largest error | exceeded | median caution |"
    lines = [head, "|---|---|---|---|---|---|"]
    for after in MARKS:
        mine = [each for each in found if each.after == after]
        if mine:
            said = figures(mine)
            lines.append(
                f"| after {after} batches | {said['forecasts']} | {said['median_error']:.1%} "
                f"| {said['largest_error']:.1%} | {said['exceeded']} "
                f"| {said['median_caution']:.1%} |"
            )
    return [*lines, ""]


def page(document: Mapping[str, Any], runs: Mapping[str, Any], found: Sequence[Row]) -> str:
    """The record for people."""
    trainers = ", ".join(sorted({each.trainer for each in found}))
    text = TEXT.format(
        count=len(runs), wanted=WANTED, trainers=trainers, seen=len(CALIBRATED & runs.keys())
    )
    lines = ["# How well a peak is forecast", ""]
    lines += [machine.paragraph(machine.sentence(document["machine"]))]
    lines += [machine.paragraph(textwrap.dedent(text))]
    lines += table(found, "all")
    lines += table([each for each in found if each.to_come], "to come")
    later = set(runs) - set(CALIBRATED)
    lines += table([each for each in found if each.name in later], "not looked at before")
    lines += ["| training | growth seen after 50 batches | point | bound | taken | error |"]
    lines += ["|---|---|---|---|---|---|"]
    for each in found:
        if each.after == MARKS[-1]:
            cells = (each.seen, each.point, each.bound, each.taken)
            shown = " | ".join(f"{value / MIB:.1f} MiB" for value in cells)
            mark = " *" if each.name in CALIBRATED else ""
            lines.append(f"| {each.name}{mark} | {shown} | {each.error:.1%} |")
    return "\n".join([*lines, ""])


def _part(text: str) -> tuple[int, int]:
    number, parts = map(int, text.split("/"))
    if not 1 <= number <= parts:
        raise ValueError(text)
    return number, parts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=144, metavar="N", help="default: 144")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no training after that")
    parser.add_argument("--folder", type=Path, default=machine.ROOT / "build" / "forecast")
    parser.add_argument("--part", type=_part, default=(1, 1), metavar="K/N", help="default: 1/1")
    parser.add_argument("--corpus", type=Path, help="write what tests/decide is held to")
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    options = parser.parse_args()
    runs = trained(options.folder.resolve(), options.runs, options.seconds, options.part)
    found = [row for name, run in runs.items() for row in rows(name, run)]
    if not found:
        sys.exit("there is no training yet: give it more seconds")
    if options.corpus is not None:
        options.corpus.write_text(json.dumps(corpus(runs, MARKS[-1]), separators=(",", ":")) + "\n")
    described = machine.describe(environments.trainer_python("ultralytics"), os.environ)
    document = {
        "machine": described,
        "forecasts": [vars(each) for each in found],
    }
    text = page(document, runs, found)
    print(text)
    if options.record:
        machine.record("forecast", document, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
