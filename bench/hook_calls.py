"""What the hook's own calls cost a step, with nothing of a training around them.

    python bench/hook_calls.py [--record]

`hook_overhead.py` measures whole trainings, whose steps differ from each other by more than what
the hook adds. Here a step is only the calls that go through the hook, to the trainer's real
methods, with the real hook, its thread and a real listener: what is left is the hook's own time in
the training thread. It says nothing about caches that the hook makes the training miss.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.support import machine
from bench.support.trainings import PROGRAMS, Bench, prepared

TEXT = """
Made by `python bench/hook_calls.py`: {processes} processes, in each {blocks} blocks of every kind
in turn; medians, and the quarters of all blocks. A step is the calls that go through the hook, to
the trainer's real methods, around nothing."""


def measured(bench: Bench) -> dict[str, list[float]]:
    """Microseconds a step, for each kind the blocks of one process."""
    inherited = bench.environment.get("PYTHONPATH")
    path = str(bench.stage) if not inherited else f"{bench.stage}{os.pathsep}{inherited}"
    environment = bench.environment | {"PYTHONPATH": path, "YOLOWATCH_SOCKET": str(bench.socket)}
    done = subprocess.run(
        (bench.python, PROGRAMS / "calls.py"), env=environment, stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        sys.exit("the program failed: nothing was measured")
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def differences(processes: list[dict[str, list[float]]], kind: str) -> dict[str, float]:
    """`kind` less bare, block by block: median and quarters, microseconds."""
    each = sorted(
        other - bare
        for found in processes
        for bare, other in zip(found["bare"], found[kind], strict=True)
    )
    quarter = len(each) // 4
    return {"median": median(each), "low": each[quarter], "high": each[-quarter - 1]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    options = parser.parse_args()
    with prepared(None) as bench:
        described = machine.describe(bench.python, bench.environment)
        processes = [measured(bench) for _ in range(options.processes)]
        if not bench.events:
            sys.exit("the hook did not speak: nothing was measured")
    document: dict[str, Any] = {
        "machine": described,
        "hook_us": differences(processes, "hooked"),
        "bare_again_us": differences(processes, "bare again"),
        "bare_us": median(us for found in processes for us in found["bare"]),
        "processes": processes,
    }
    blocks = len(processes[0]["bare"])
    lines = [
        "# What the hook's own calls cost a step",
        "",
        machine.paragraph(machine.sentence(described)),
        machine.paragraph(TEXT.format(processes=options.processes, blocks=blocks)),
        "| compared | microseconds a step |",
        "|---|---|",
    ]
    for title, key in (("bare again − bare", "bare_again_us"), ("hooked − bare", "hook_us")):
        us = document[key]
        lines.append(f"| {title} | {us['median']:+.2f} [{us['low']:+.2f}, {us['high']:+.2f}] |")
    lines += ["", f"The calls alone, bare: {document['bare_us']:.2f} µs."]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.record:
        machine.record("hook_calls", document, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
