"""Prints what the cells of test_matrix.py told, and records it beside the measurements.

    python -m tests.trainers.matrix REPORT …

A report is of pytest --junit-xml, or a record of before, to which one that is named later adds the
cells that were made again. Exits with 1 where a cell is missing, which is what a test that failed
leaves.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bench.support import machine
from tests import environments
from tests.trainers.test_matrix import PLACES, TRAINERS

TEXT = """
Made by `make trainers`: real trainings of three epochs under a real limit, one for each trainer and
place. All finish by themselves with every epoch once in results.csv. A cell shows the batches whose
work was lost, the (smaller) batches that did it again, the seconds from the last checkpoint kept to
training again, and the levers, where a count tells how often one was needed."""


def main() -> int:
    told = [cell for path in sys.argv[1:] for cell in _told(Path(path))]
    cells = {(cell["trainer"], cell["place"]): cell for cell in told}
    python = environments.trainer_python("ultralytics")
    described = machine.describe(python, os.environ)
    lines = [
        "# Where memory runs out, and what it costs",
        "",
        machine.paragraph(machine.sentence(described)),
        machine.paragraph(TEXT),
        "| trainer | " + " | ".join(PLACES) + " |",
        "|---" * (len(PLACES) + 1) + "|",
    ]
    for trainer in TRAINERS:
        row = [_words(trainer, place, cells) for place in PLACES]
        lines.append(f"| {trainer} | " + " | ".join(row) + " |")
    text = "\n".join(lines) + "\n"
    print(text)
    machine.record("trainers_matrix", {"machine": described, "cells": list(cells.values())}, text)
    missing = len(TRAINERS) * len(PLACES) - len(cells)
    if missing:
        print(f"{missing} cells are missing")
    return 1 if missing else 0


def _told(report: Path) -> list[dict[str, Any]]:
    if report.suffix == ".json":
        recorded: list[dict[str, Any]] = json.loads(report.read_text())["cells"]
        return recorded
    found = ElementTree.parse(report).iter("property")
    return [json.loads(each.get("value", "")) for each in found if each.get("name") == "cell"]


def _words(trainer: str, place: str, cells: Mapping[tuple[str, str], dict[str, Any]]) -> str:
    cell = cells.get((trainer, place))
    if cell is None:
        return "missing"
    counted = {name: cell["levers"].count(name) for name in cell["levers"]}
    levers = ", ".join(n if count == 1 else f"{n} ×{count}" for n, count in counted.items())
    lost, again = cell["steps_lost"], cell["steps_repeated"]
    return f"{lost} lost, {again} again, {cell['seconds_lost']:.0f} s; {levers}"


if __name__ == "__main__":
    sys.exit(main())
