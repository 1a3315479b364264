"""How long a failed run stands still: from the old process's exit to the new one's start.

    python bench/restart.py [--repetitions N] [--megabytes N] [--record]

A real Ultralytics training runs out of memory for real under `yolowatch run`, with a last.pt of
500 MB that was copied into the vault when it was saved. The figures are those of its own receipts
and of its journal. Run it with a Python that has yolowatch's dependencies: .venv/bin/python.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.support import machine  # noqa: E402
from tests import environments  # noqa: E402
from yolowatch.edges.journal import Journal  # noqa: E402

PROGRAM = Path(__file__).with_name("programs") / "large_checkpoint.py"
CAPPED = ROOT / "tests" / "programs" / "capped.py"
PAUSE_SECONDS = 15.0
COSTS = ("exit_seconds", "restart_seconds", "memory_wait_seconds")


def repetition(
    python: Path, folder: Path, environment: Mapping[str, str], megabytes: int
) -> dict[str, Any]:
    """One run that fails once, is resumed and finishes: what its receipt and journal say."""
    data = folder.parent / "images" / "data.yaml"
    state = folder / "state"
    folder.mkdir()
    command: list[str | Path] = [
        *(sys.executable, "-m", "yolowatch", "run", "--state-dir", state, "--"),
        *(python, PROGRAM, str(megabytes), str(PAUSE_SECONDS)),
        *(CAPPED, data, folder / "runs", folder / "facts.jsonl"),
    ]
    log = folder / "log"
    with log.open("w") as output:
        status = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False
        ).returncode
    with Journal(state / "journal.sqlite") as journal:
        (run,) = journal.runs()
        receipts = {r.body["incident"]: r.body for r in journal.receipts(run.id)}
        plans, copies = journal.plans(run.id), journal.checkpoints(run.id)
    if status != 0 or len(receipts) != 1:
        sys.exit(f"the run was not healed in one go (status {status}):\n{log.read_text()[-3000:]}")
    (receipt,) = receipts.values()
    steps: dict[str, float] = {}
    for step in plans[-1].steps:
        steps[step.name] = step.at - steps.get(step.name, 0.0)
    return {
        **{name: receipt["costs"][name] for name in COSTS},
        "steps_seconds": steps,
        "resumed": receipt["resume"]["start"] == "resume",
        "checkpoint_bytes": max(copy.size_bytes for copy in copies),
        "vault_seconds": max(copy.seconds or 0.0 for copy in copies),
    }


def page(document: Mapping[str, Any]) -> str:
    """The results for people."""
    found = document["repetitions"]
    size = found[0]["checkpoint_bytes"] / 1e6
    steps = ", ".join(f"{name} {value:.3f} s" for name, value in document["steps"].items())
    what = f"""Made by `python bench/restart.py`: a real Ultralytics training under `yolowatch run`
        runs out of memory {PAUSE_SECONDS:.0f} s after it saved a last.pt of {size:.0f} MB; what its
        receipts say."""
    notes = f"""The exit is from the last words to the end of the process: the interpreter's own
        work. The copy is made while the training goes on. Within the restart, medians: {steps}."""
    lines = [
        "# How long a failed run stands still",
        "",
        machine.paragraph(machine.sentence(document["machine"])),
        machine.paragraph(what),
        "| repetition | old process's exit | exit to restart | wait for memory | vault copy |",
        "|---|---|---|---|---|",
    ]
    rows = [(str(number + 1), each) for number, each in enumerate(found)]
    for title, each in [*rows, ("median", document["median"])]:
        figures = " | ".join(f"{each[name]:.2f} s" for name in (*COSTS, "vault_seconds"))
        lines.append(f"| {title} | {figures} |")
    return "\n".join([*lines, "", machine.paragraph(notes)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--megabytes", type=int, default=500, metavar="N", help="default: 500")
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    options = parser.parse_args()
    python = environments.trainer_python("ultralytics")
    with tempfile.TemporaryDirectory(prefix="yolowatch-bench-") as name:
        base = Path(name)
        images = ROOT / "yolowatch" / "demo" / "images.py"
        subprocess.run(
            [sys.executable, images, base / "images", "64", "64"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        environment = {**os.environ, **environments.trainer_variables(base / "settings")}
        # Freed memory goes back at once, so that the limit fails at the same batch every time.
        environment |= {
            "MALLOC_ARENA_MAX": "1",
            "MALLOC_MMAP_THRESHOLD_": "131072",
            "MALLOC_TRIM_THRESHOLD_": "131072",
        }
        environment.pop("YOLOWATCH", None)
        described = machine.describe(python, environment)
        found = []
        for number in range(options.repetitions):
            folder = base / str(number)
            found.append(repetition(python, folder, environment, options.megabytes))
            machine.say(f"repetition {number + 1}: {json.dumps(found[-1])}")
    names = (*COSTS, "vault_seconds")
    document = {
        "machine": described,
        "median": {each: median(one[each] for one in found) for each in names},
        "steps": {
            step: median(one["steps_seconds"][step] for one in found)
            for step in found[0]["steps_seconds"]
        },
        "repetitions": found,
    }
    text = page(document)
    print(text)
    if options.record:
        machine.record("restart", document, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
