"""Is a training left alone that fits? Real healthy trainings under capacities close to their peak.

    python bench/false_alarms.py [--shapes N] [--new N] [--seconds S] [--folder F] [--record]
    python bench/false_alarms.py --recorded FOLDER [--record]

Trainings of different shapes run once without a limit, and once each under a limit of the data
segment that is 5, 10 and 20 % above the highest peak of the first, in mode auto. What counts is
whether anything of theirs was changed: an order, a plan, a restart. What was reported stands beside
it, with the least headroom there was.

With `--recorded` nothing is trained: what the hooks of real trainings said, as `bench/forecast.py`
keeps it, is told once more to the product's own core, with such a capacity in the place of theirs.

What is complete is kept in the folder and not made again: the program may be interrupted, and
`--new` ends it after so many trainings.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.prevention import NETWORKS, Bench
from bench.support import machine
from bench.support.healthy import judged
from bench.support.preventing import TRAINERS, Training
from tests import environments
from tests.trainers.scene import STEADY

ABOVE = (0.05, 0.10, 0.20)
TEXT = """
Made by `python bench/false_alarms.py --shapes {shapes}`: each shape trained once without a limit
and then, in mode auto, under one that is so much above its own highest peak. *touched*: anything
was ordered, planned or started again. *reported*: incidents that were opened, by kind."""

RECORDED = """
Made by `python bench/false_alarms.py --recorded FOLDER`: what the hooks of {count} healthy real
trainings of different shapes said, recorded by `bench/forecast.py`, was told to a core in mode auto
with a capacity so much above the highest peak of each. *touched*: anything was ordered, planned or
signalled. *reported*: incidents that were opened, by kind."""


def shapes(count: int) -> list[Training]:
    """The first so many, in an order that is the same every time and mixed."""
    found = [
        Training(trainer, batch, size, 2, scale, seed=batch + size, model=NETWORKS[trainer])
        for trainer, batch, size, scale in itertools.product(
            TRAINERS, (4, 8, 16), (96, 128, 160), (False, True)
        )
    ]
    random.Random(7).shuffle(found)
    return found[:count]


def name_of(shape: Training) -> str:
    scale = "m" if shape.multi_scale else ""
    return f"{shape.trainer}-b{shape.batch}-{shape.size}{scale}"


def trained(bench: Bench, count: int) -> Iterator[dict[str, Any]]:
    for shape in shapes(count):
        free = bench.of(f"{name_of(shape)}-free", shape, mode="observe")
        if free is None:
            return
        for above in ABOVE:
            capacity = round(free["peak"] * (1.0 + above))
            limited = replace(shape, capacity=capacity)
            found = bench.of(f"{name_of(shape)}-{above:.2f}", limited)
            if found is not None:
                yield {"shape": name_of(shape), "above": above, "free_peak": free["peak"], **found}


def touched(run: Mapping[str, Any]) -> bool:
    return bool(run["restarts"] or run["ordered"] or run["plans"] or run["status"])


def page(document: Mapping[str, Any], count: int) -> str:
    runs = document["runs"]
    lines = ["# Is a training left alone that fits?", ""]
    lines += [machine.paragraph(machine.sentence(document["machine"]))]
    lines += [machine.paragraph(TEXT.format(shapes=count))]
    lines += ["| above its peak | trainings | touched | reported |", "|---|---|---|---|"]
    for above in ABOVE:
        mine = [run for run in runs if run["above"] == above]
        kinds = Counter(kind for run in mine for kind, _outcome in run["incidents"])
        told = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) or "nothing"
        lines.append(f"| {above:.0%} | {len(mine)} | {sum(map(touched, mine))} | {told} |")
    lines += ["", "| shape | above | highest peak of the capacity | touched | incidents |"]
    lines += ["|---|---|---|---|---|"]
    for run in runs:
        part = run["peak"] / run["capacity"]
        told = "; ".join(f"{kind}: {outcome}" for kind, outcome in run["incidents"]) or "none"
        lines.append(
            f"| {run['shape']} | {run['above']:.0%} | {part:.3f} | "
            f"{'yes' if touched(run) else 'no'} | {told} |"
        )
    return "\n".join([*lines, ""])


def judge(folder: Path, record: bool) -> int:
    """Recorded trainings instead of new ones."""
    runs = []
    for path in sorted(folder.glob("*.json")):
        run = json.loads(path.read_text())
        peak = run["kernel"]["peak"]
        for above in ABOVE:
            found = judged(run, round(peak * (1.0 + above)))
            runs.append({"shape": path.stem, "above": above, "peak": peak, **asdict(found)})
    python = environments.trainer_python("ultralytics")
    document = {"machine": machine.describe(python, {**STEADY}), "runs": runs}
    lines = ["# Is a training left alone that fits?", ""]
    lines += [machine.paragraph(machine.sentence(document["machine"]))]
    lines += [machine.paragraph(RECORDED.format(count=len(runs) // len(ABOVE)))]
    lines += ["| above its peak | trainings | touched | reported |", "|---|---|---|---|"]
    for above in ABOVE:
        mine = [run for run in runs if run["above"] == above]
        kinds = Counter(kind for run in mine for kind, _outcome in run["incidents"])
        told = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) or "nothing"
        lines.append(
            f"| {above:.0%} | {len(mine)} | {sum(bool(r['done']) for r in mine)} | {told} |"
        )
    shapes = ", ".join(sorted({run["shape"] for run in runs}))
    lines += ["", machine.paragraph(f"The shapes: {shapes}.").rstrip()]
    text = "\n".join([*lines, ""])
    print(text)
    if record:
        machine.record("false_alarms", json.loads(json.dumps(document)), text)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=20, metavar="N", help="default: 20")
    parser.add_argument("--new", type=int, default=10_000, metavar="N", help="trainings at most")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no training after that")
    parser.add_argument("--folder", type=Path, default=machine.ROOT / "build" / "false_alarms")
    parser.add_argument("--recorded", type=Path, metavar="FOLDER", help="what was trained before")
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    options = parser.parse_args()
    if options.recorded is not None:
        return judge(options.recorded, options.record)
    bench = Bench(options.folder.resolve(), options.new, options.seconds)
    runs = list(trained(bench, options.shapes))
    python = environments.trainer_python("ultralytics")
    document = {"machine": machine.describe(python, {**STEADY}), "runs": runs}
    text = page(document, options.shapes)
    print(text)
    if options.record:
        machine.record("false_alarms", json.loads(json.dumps(document)), text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
