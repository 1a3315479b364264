"""What attaching costs a training: rounds of attach and detach on one that runs with workers.

    python bench/attach.py [--record]

The same seeded training runs twice, with rounds and alone: its losses must be the same to the bit.
The pause is what the tracer measures, from its request to stop until it lets go: no less than what
the training feels of it. What the loading of the hook costs besides, in a thread of its own that
takes turns with the training, shows in the longest batches.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.support import machine
from tests import environments
from yolowatch.edges.attach.entering import Means, attach, detach

PROGRAM = Path(__file__).parent / "programs" / "attached.py"
BETWEEN_SECONDS = 0.2

TEXT = """
Made by `python bench/attach.py`: {rounds} rounds of attach and detach on a real Ultralytics
training ({batches} batches, 2 workers that load images, one CPU thread), with {waited} HELLOs.
Losses of the two runs: {equal}. The load average is of a machine that others used, too."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100, metavar="N", help="default: 100")
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    options = parser.parse_args()
    python = environments.trainer_python("ultralytics")
    with tempfile.TemporaryDirectory(prefix="yolowatch-bench-") as folder:
        root = Path(folder)
        images = machine.ROOT / "yolowatch" / "demo" / "images.py"
        subprocess.run((python, images, root / "images", "64", "64"), check=True)
        environment = {**os.environ, **environments.trainer_variables(root / "images")}
        environment["OMP_NUM_THREADS"] = "1"
        # As trainings are started: what is staged is compiled once, not at each attaching.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        described = machine.describe(python, environment)
        command = (str(python), str(PROGRAM), str(root / "images" / "data.yaml"))
        stop = str(root / "stop")
        machine.say("with rounds")
        training = start((*command, str(root / "with"), stop, "0"), environment, root)
        while not (root / "stop.warm").exists():
            time.sleep(0.05)
        rounds = attached(training, options.rounds, root)
        Path(stop).touch()
        with_rounds = told(training, root)
        batches = len(with_rounds["batch_seconds"]) + 1
        machine.say(f"alone, {batches} batches")
        again = (*command, str(root / "alone"), stop, str(batches))
        alone = told(start(again, environment, root), root)
    document = {
        "machine": described,
        "rounds": rounds,
        "hellos": sum(1 for each in rounds if each["hello"]),
        "losses_equal": alone["losses"] == with_rounds["losses"],
        "batch_seconds": {
            name: summary(each["batch_seconds"])
            for name, each in (("alone", alone), ("with rounds", with_rounds))
        },
    }
    text = page(document, batches)
    print(text)
    if options.record:
        machine.record("attach", document, text)
    is_good = document["losses_equal"] and document["hellos"] == options.rounds
    return 0 if is_good else 1


def start(
    command: Sequence[str], environment: Mapping[str, str], root: Path
) -> subprocess.Popen[bytes]:
    with (root / "output").open("wb") as output:
        return subprocess.Popen(
            command, env=environment, cwd=root, stdout=output, stderr=subprocess.STDOUT
        )


def attached(training: subprocess.Popen[bytes], count: int, root: Path) -> list[dict[str, Any]]:
    """The rounds, while the training goes on."""
    state = root / "state"
    state.mkdir(mode=0o700)
    means = Means(
        dict(os.environ), state, socket=root / "nobody.sock", seconds=30.0, run_seconds=0.0
    )
    rounds = []
    for _ in range(count):
        if training.poll() is not None:
            sys.exit("the training ended before the rounds did")
        came, went = attach(training.pid, means), detach(training.pid, means)
        rounds.append(
            {
                "hello": bool(came.hello),
                "attach_pause_ms": (came.reached.pause_seconds or 0.0) * 1000,
                "detach_pause_ms": (went.reached.pause_seconds or 0.0) * 1000,
                "attach_latency_ms": came.reached.latency_seconds * 1000,
                "detach_latency_ms": went.reached.latency_seconds * 1000,
            }
        )
        time.sleep(BETWEEN_SECONDS)
    return rounds


def told(training: subprocess.Popen[bytes], root: Path) -> dict[str, Any]:
    """What the training printed at its end."""
    status = training.wait()
    output = (root / "output").read_text(errors="replace")
    if status or "TOLD " not in output:
        sys.exit(f"the training failed:\n{output[-2000:]}")
    found = json.loads(output.rpartition("TOLD ")[2].splitlines()[0])
    assert isinstance(found, dict)
    return found


def summary(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median_ms": median(ordered) * 1000,
        "p99_ms": ordered[len(ordered) * 99 // 100] * 1000,
        "sum_s": sum(ordered),
    }


def page(document: Mapping[str, Any], batches: int) -> str:
    rounds = document["rounds"]
    equal = "equal to the bit" if document["losses_equal"] else "NOT equal"
    lines = [
        "# What attaching costs a training",
        "",
        machine.paragraph(machine.sentence(document["machine"])),
        machine.paragraph(
            TEXT.format(rounds=len(rounds), batches=batches, waited=document["hellos"], equal=equal)
        ),
        "| figure | median | largest |",
        "|---|---|---|",
    ]
    for name in ("attach_pause_ms", "detach_pause_ms", "attach_latency_ms", "detach_latency_ms"):
        values = [each[name] for each in rounds]
        title = name.removesuffix("_ms").replace("_", ", ")
        lines.append(f"| {title} | {median(values):.2f} ms | {max(values):.2f} ms |")
    lines += ["", "| batches of the training | median | 99th percentile | all together |"]
    lines.append("|---|---|---|---|")
    for name, each in document["batch_seconds"].items():
        lines.append(
            f"| {name} | {each['median_ms']:.1f} ms | {each['p99_ms']:.1f} ms | "
            f"{each['sum_s']:.1f} s |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
