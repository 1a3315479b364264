"""What the hook costs a training: time a step, start, end and memory.

    python bench/hook_overhead.py [--rounds N] [--record]

The same seeded Ultralytics training runs in three processes: bare, bare again and with the real
hook, which speaks to a real listener here. They stay alive and pass a baton, so that only one of
them trains at a time, a block of steps each; whole processes in turn would differ by more than what
is to be measured. Bare against bare again is what this machine can resolve at that moment.

Even equal processes differ by a percent or more for as long as they live, by where their memory
happens to lie. So there are several generations of them, and the same is measured in one process as
well, out of which the hook is taken and into which it is put again between blocks. The noise that
is left is a part of the step. So there is a hollow step too: the trainer's whole loop around a
network that computes next to nothing, with all that the hook does in any other step. Start, end and
memory come from fresh processes in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.support import machine, paired
from bench.support.trainings import Bench, Runner, prepared
from yolowatch.model.events import HookMessage

BARE, AGAIN, HOOKED = VARIANTS = ("bare", "bare again", "hooked")
FIGURES = ("mean", "median", "processor")  # of a block: see `page` for what each says
EPOCHS = 1_000_000  # never reached: the training ends when the baton is taken away
WARM = 2  # batches before a block, as in programs/steps.py


@dataclass(frozen=True)
class Setting:
    """One size of step: its name, and what makes it so long."""

    name: str
    batch: int
    imgsz: int
    steps: int  # of a block
    objects: bool  # whether the images have any
    hollow: bool = False  # whether the network computes next to nothing


SETTINGS = (
    Setting("hollow", batch=2, imgsz=32, steps=200, objects=False, hollow=True),
    Setting("short", batch=2, imgsz=32, steps=50, objects=False),
    Setting("long", batch=24, imgsz=160, steps=10, objects=True),
)


Turns = Mapping[str, Callable[[], dict[str, Any]]]
"""For each variant what makes it train a block."""
Blocks = dict[str, list[list[dict[str, list[float]]]]]
"""For each figure and generation the rounds."""


class Measured:
    """The blocks of all variants, a generation of processes after the other; microseconds."""

    def __init__(self, title: str) -> None:
        self._title = title
        self.blocks: Blocks = {figure: [] for figure in FIGURES}
        self.losses: dict[str, list[float]] = {variant: [] for variant in VARIANTS}

    def add(self, turns: Turns, rounds: int) -> None:
        """A generation: every variant has two blocks a round, mirrored so that a drift cancels."""
        for figure in FIGURES:
            self.blocks[figure].append([{v: [] for v in VARIANTS} for _ in range(rounds)])
        for number in range(rounds):
            first = number % len(VARIANTS)
            order = VARIANTS[first:] + VARIANTS[:first]
            for variant in order + order[::-1]:
                report = turns[variant]()
                for figure in FIGURES:
                    here = self.blocks[figure][-1][number]
                    here[variant].append(round(report[figure + "_ns"] / 1000, 1))
                self.losses[variant].append(report["loss"])
        done = len(self.blocks["mean"])
        machine.say(f"{self._title}: generation {done}, {rounds} rounds")

    def to_json(self) -> dict[str, Any]:
        """Medians, differences and everything they come from."""
        rounds = [here for generation in self.blocks["mean"] for here in generation]
        return {
            "step_us": {v: round(median(b for r in rounds for b in r[v]), 1) for v in VARIANTS},
            **{figure: _compare(self.blocks[figure]) for figure in FIGURES},
            "blocks_us": self.blocks,
        }


def measure_steps(bench: Bench, setting: Setting, rounds: int, generations: int) -> dict[str, Any]:
    """One size of step: three processes beside each other, then one with the hook in and out."""
    per_epoch = setting.steps + WARM
    changes = {
        "data": str(bench.data(per_epoch * setting.batch, setting.imgsz)),
        "batch": setting.batch,
        "imgsz": setting.imgsz,
        "steps": setting.steps,
        "objects": setting.objects,
        "hollow": setting.hollow,
        "epochs": EPOCHS,
    }
    bench.events.clear()
    three = Measured(f"{setting.name} step, three processes")
    one = Measured(f"{setting.name} step, one process")
    hooked = set()
    for number in range(generations):
        share = rounds // generations + (number < rounds % generations)
        runners = [Runner(bench, variant, variant == HOOKED, changes) for variant in VARIANTS]
        three.add({runner.variant: runner.turn for runner in runners}, share)
        one.add(_switched(runners[-1]), share)
        hooked.add(runners[-1].pid)
        for runner in runners:
            runner.end()
    return {
        **asdict(setting),
        "identical_losses": three.losses[BARE] == three.losses[AGAIN] == three.losses[HOOKED],
        "hook": _proof(bench, hooked),
        "three_processes": three.to_json(),
        "one_process": one.to_json(),
    }


def _switched(runner: Runner) -> Turns:
    """Variants that are one process, which goes on without the hook or with it."""
    return {
        BARE: lambda: runner.turn(b"o"),
        AGAIN: lambda: runner.turn(b"o"),
        HOOKED: lambda: runner.turn(b"i"),
    }


def _compare(generations: paired.Generations) -> dict[str, Any]:
    bare = (BARE, AGAIN)
    return {
        "hook_us": paired.difference(generations, HOOKED, bare).to_json(),
        "hook_ratio": paired.ratio(generations, HOOKED, bare).to_json(),
        "bare_again_us": paired.difference(generations, AGAIN, (BARE,)).to_json(),
        "bare_again_ratio": paired.ratio(generations, AGAIN, (BARE,)).to_json(),
    }


def _proof(bench: Bench, hooked: set[int]) -> dict[str, Any]:
    """What the hook said: that it was really at work, and only in the hooked variant."""
    messages = [event for event in list(bench.events) if isinstance(event, HookMessage)]
    kinds = [message.kind for message in messages for _ in range(message.count)]
    samples = [message.fields for message in messages if message.kind == "sample"]
    if {message.process.pid for message in messages} != hooked or not samples:
        sys.exit("the hook did not speak, or spoke in another process: nothing was measured")
    return {
        "messages": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "footprints": sum(len(m.fields["items"]) for m in messages if m.kind == "footprints"),
        "steps_told": sum(fields.get("steps", 0) for fields in samples),
        "dropped": max(fields.get("dropped", 0) for fields in samples),
        "faults": max(fields.get("faults", 0) for fields in samples),
    }


def measure_processes(bench: Bench, repetitions: int) -> dict[str, Any]:
    """Fresh processes in turn: seconds to the first step, seconds to the end, memory."""
    setting = SETTINGS[1]
    changes = {
        "data": str(bench.data(40, setting.imgsz)),
        "batch": setting.batch,
        "imgsz": setting.imgsz,
        "steps": 0,
        "objects": True,
        "epochs": 2,
    }
    found: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    for number in range(-1, repetitions):  # the first one only warms the machine's caches
        for variant in VARIANTS if number % 2 else VARIANTS[::-1]:
            began = time.monotonic()
            with bench.start(variant, variant == HOOKED, changes, stdout=-1, stderr=-2) as process:
                assert process.stdout is not None
                output = process.stdout.read()
                process.wait()
            ended = time.monotonic()
            if process.returncode != 0:
                sys.exit(f"{variant} failed:\n{output[-3000:]}")
            noted = json.loads(next(line for line in output.splitlines() if line[:1] == "{"))
            if number >= 0:
                found[variant].append(
                    {
                        "start_seconds": noted["began"] - began,
                        "end_seconds": ended - noted["ended"],
                        "resident_peak_bytes": noted["resident_peak_bytes"],
                    }
                )
        machine.say(f"fresh processes: {number + 1} of {repetitions}")
    names = ("start_seconds", "end_seconds", "resident_peak_bytes")
    medians = {v: {n: median(each[n] for each in found[v]) for n in names} for v in VARIANTS}
    return {"repetitions": repetitions, "medians": medians, "all": found}


INTRODUCTION = """
Made by `python bench/hook_overhead.py --rounds {rounds}`: a real Ultralytics trainer on one CPU
thread, the variants in alternating blocks, in {generations} generations of processes. Medians with
95 % intervals (bootstrap over generations, rounds and blocks). *Bare again* against *bare* is the
noise of the measurement: a difference within it is not resolved. There is more of it between three
processes than in one process, out of which the hook is taken between blocks, because equal
processes differ by where their memory happens to lie."""
COLUMNS = """
The mean step of a block has everything in it, also what the hook does only now and then; the median
step is what most steps cost, and least disturbed by other programs."""


def page(document: Mapping[str, Any]) -> str:
    """The results for people."""
    lines = [
        "# What the hook costs a training",
        "",
        machine.paragraph(machine.sentence(document["machine"])),
        machine.paragraph(INTRODUCTION.format(**document)),
        machine.paragraph(COLUMNS),
        "| step | compared | mean step | ratio | median step | processor time a step |",
        "|---|---|---|---|---|---|",
    ]
    for each in document["steps"]:
        for way in ("three_processes", "one_process"):
            measured = each[way]
            bare_ms = measured["step_us"][BARE] / 1000
            step = f"{each['name']} (bare: {bare_ms:.2f} ms), {way.replace('_', ' ')}"
            for title, key in (("bare again − bare", "bare_again"), ("hooked − bare", "hook")):
                mean, middle, processor = (measured[f][key + "_us"] for f in FIGURES)
                ratio = _span(measured["mean"][key + "_ratio"], ".4f")
                lines.append(
                    f"| {step} | {title} | {_span(mean, '+.1f')} µs | {ratio} "
                    f"| {_span(middle, '+.1f')} µs | {_span(processor, '+.1f')} µs |"
                )
    processes = document["processes"]
    lines += [
        "",
        f"Fresh processes in turn, {processes['repetitions']} of each, medians:",
        "",
        "| variant | start to first step | last step to exit | highest resident memory |",
        "|---|---|---|---|",
    ]
    for variant, figures in processes["medians"].items():
        lines.append(
            f"| {variant} | {figures['start_seconds']:.2f} s | {figures['end_seconds']:.2f} s "
            f"| {figures['resident_peak_bytes'] / 2**20:.1f} MiB |"
        )
    same = all(each["identical_losses"] for each in document["steps"])
    hooks = [each["hook"] for each in document["steps"]]
    told, dropped, faults = (sum(h[n] for h in hooks) for n in ("steps_told", "dropped", "faults"))
    text = f"""The losses of the three processes were {"" if same else "NOT "}identical to the bit,
        block by block. The hook told of {told} steps, dropped {dropped} messages and met {faults}
        faults."""
    return "\n".join([*lines, "", machine.paragraph(text)])


def _span(estimate: Mapping[str, float], form: str) -> str:
    value, low, high = (format(estimate[key], form) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="default: 40")
    parser.add_argument(
        "--repetitions", type=int, default=7, metavar="N", help="fresh processes (default: 7)"
    )
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    parser.add_argument(
        "--cpu",
        type=int,
        default=max(os.sched_getaffinity(0)),
        help="pin the trainings to this processor, -1 for none (default: the last one)",
    )
    parser.add_argument(
        "--generations", type=int, default=8, metavar="N", help="of processes (default: 8)"
    )
    options = parser.parse_args()
    generations = max(min(options.generations, options.rounds), 1)
    with prepared(options.cpu if options.cpu >= 0 else None) as bench:
        document: dict[str, Any] = {
            "machine": machine.describe(bench.python, bench.environment),
            "rounds": options.rounds,
            "generations": generations,
            "steps": [
                measure_steps(bench, setting, options.rounds, generations) for setting in SETTINGS
            ],
            "processes": measure_processes(bench, options.repetitions),
        }
    text = page(document)
    print(text)
    if options.record:
        machine.record("hook_overhead", document, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
