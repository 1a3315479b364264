"""What a step spends in the hook, timed from within a real training.

    python bench/hook_calls.py [--record]

`hook_overhead.py` compares whole trainings, whose steps differ from each other by more than what
the hook adds. Here a clock stands on both sides of everything that the hook wraps: in front of the
trainer's methods as the hook left them, and around the trainer's own methods inside. What passes
between the two is the time of the hook in the training thread, with caches as cold as the training
leaves them. The same clocks around a bare training are what the timing itself takes. It says
nothing about what the hook's thread, or what it puts into the caches, costs the training elsewhere.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.support import machine
from bench.support.trainings import Runner, prepared

BARE, HOOKED = VARIANTS = ("bare", "hooked")
BATCH, IMAGE_SIZE, STEPS, WARM = 2, 32, 100, 2

TEXT = """
Made by `python bench/hook_calls.py`: a real Ultralytics trainer on one CPU thread, {generations}
generations of two processes in turn, in each {blocks} blocks of {steps} steps. Medians and quarters
of the blocks. *Bare* is what the clocks themselves take."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generations", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--blocks", type=int, default=20, metavar="N", help="default: 20")
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    options = parser.parse_args()
    blocks: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    steps: list[float] = []
    with prepared(1) as bench:
        described = machine.describe(bench.python, bench.environment)
        changes = {
            "data": str(bench.data((STEPS + WARM) * BATCH, IMAGE_SIZE)),
            "batch": BATCH,
            "imgsz": IMAGE_SIZE,
            "steps": STEPS,
            "objects": False,
            "timed": True,
            "epochs": 1_000_000,
        }
        for _ in range(options.generations):
            runners = [Runner(bench, variant, variant == HOOKED, changes) for variant in VARIANTS]
            for _ in range(options.blocks):
                for runner in runners:
                    report = runner.turn()
                    blocks[runner.variant].append(round(report["crossing_ns"] / 1000, 2))
                    if runner.variant == BARE:
                        steps.append(report["mean_ns"] / 1000)
            for runner in runners:
                runner.end()
        if not bench.events:
            sys.exit("the hook did not speak: nothing was measured")
    document: dict[str, Any] = {
        "machine": described,
        "step_us": median(steps),
        "hook_us": median(blocks[HOOKED]) - median(blocks[BARE]),
        "blocks_us": blocks,
    }
    lines = [
        "# What a step spends in the hook",
        "",
        machine.paragraph(machine.sentence(described)),
        machine.paragraph(
            TEXT.format(generations=options.generations, blocks=options.blocks, steps=STEPS)
        ),
        "| variant | microseconds a step between the clocks |",
        "|---|---|",
    ]
    for variant in VARIANTS:
        low, middle, high = quantiles(blocks[variant], n=4)
        lines.append(f"| {variant} | {middle:.2f} [{low:.2f}, {high:.2f}] |")
    share = document["hook_us"] / document["step_us"]
    lines += [
        "",
        f"The hook: {document['hook_us']:.1f} µs of a step of {document['step_us'] / 1000:.1f} ms, "
        f"{share:.2%} of it.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.record:
        machine.record("hook_calls", document, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
