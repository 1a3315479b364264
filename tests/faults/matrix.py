"""Prints what the cells of test_kill_matrix.py told, and records it beside the measurements.

    python -m tests.faults.matrix REPORT.xml [REPORT.xml …]   (of pytest --junit-xml)

Exits with 1 where a cell is missing, which is what a test that failed leaves.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from bench.support import machine
from tests import environments
from tests.faults.test_kill_matrix import STARTED, TRAINING, VICTIMS, WRITES

PROGRAMS = ("miniature", "played")
TEXT = """
Made by `make faults`: a training of three epochs that nobody started through yolowatch runs out of
memory in its second one, and a real `yolowatch daemon` heals it. After each write of the journal,
from the end of the failed attempt to the beginning of the next one, something is killed with
SIGKILL: the daemon, which is then started again; the training; every connection of the hook's
socket; or the helper, which is started again and asked again. A cell shows how often the training
was started, the epochs in results.csv, and how the run ended; first of the miniature, a real
training with torch, then of the played one, where that differs."""


def main() -> int:
    properties = [p for path in sys.argv[1:] for p in ElementTree.parse(path).iter("property")]
    told = [each.get("value", "") for each in properties if each.get("name") == "cell"]
    cells = {(c["victim"], c["write"], c["training"]): c for c in map(json.loads, told)}
    described = machine.describe(environments.trainer_python("ultralytics"), os.environ)
    lines = [
        "# What is killed, and when",
        "",
        machine.paragraph(machine.sentence(described)),
        machine.paragraph(TEXT),
        "| after the write | " + " | ".join(VICTIMS) + " |",
        "|---" * (len(VICTIMS) + 1) + "|",
    ]
    missing = 0
    for number, write in enumerate(WRITES, 1):
        row = []
        for victim in VICTIMS:
            if victim == TRAINING and number < STARTED:
                row.append("none lives")
                continue
            found = [_words(cells.get((victim, write, program))) for program in PROGRAMS]
            missing += found.count("missing")
            row.append(" / ".join(dict.fromkeys(found)))
        lines.append(f"| {number} {write} | {' | '.join(row)} |")
    text = "\n".join(lines) + "\n"
    print(text)
    machine.record("kill_matrix", {"machine": described, "cells": list(cells.values())}, text)
    if missing:
        print(f"{missing} cells are missing")
    return 1 if missing else 0


def _words(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "missing"
    epochs = ", ".join(map(str, cell["epochs"]))
    return f"{cell['starts']} starts, epochs {epochs}: {cell['outcome']}"


if __name__ == "__main__":
    sys.exit(main())
