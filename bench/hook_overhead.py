"""What the hook costs a training: time a step, start, end and memory.

    python bench/hook_overhead.py [--rounds N] [--record]

The same seeded Ultralytics training runs in three processes: bare, bare again and with the real
hook, which speaks to a real listener here. They stay alive and pass a baton, so that only one of
them trains at a time, a block of steps each; whole processes in turn would differ by more than what
is to be measured. Bare against bare again is what this machine can resolve at that moment.

Even equal processes differ by a percent or more for as long as they live, by where their memory
happens to lie. So the same is measured in one process as well, out of which the hook is taken and
into which it is put again between blocks. Start, end and memory come from fresh processes in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.support import machine, paired  # noqa: E402
from tests import environments  # noqa: E402
from yolowatch.edges.clock import SystemClock  # noqa: E402
from yolowatch.edges.listener import Listener  # noqa: E402
from yolowatch.edges.stage import stage  # noqa: E402
from yolowatch.model.events import Event, HookMessage  # noqa: E402

PROGRAMS = Path(__file__).with_name("programs")
BARE, AGAIN, HOOKED = VARIANTS = ("bare", "bare again", "hooked")
FIGURES = ("mean", "median", "processor")  # of a block: see `page` for what each says
# Where memory lies and how names are hashed makes equal processes differ by percents.
ALIKE = ("setarch", "-R") if shutil.which("setarch") else ()
EPOCHS = 1_000_000  # never reached: the training ends when the baton is taken away
WARM = 2  # batches before a block, as in programs/steps.py
START_SECONDS = 600.0


@dataclass(frozen=True)
class Setting:
    """One size of step: its name, and what makes it so long."""

    name: str
    batch: int
    imgsz: int
    steps: int  # of a block
    objects: bool  # whether the images have any


SETTINGS = (
    Setting("short", batch=2, imgsz=32, steps=50, objects=False),
    Setting("long", batch=24, imgsz=160, steps=10, objects=True),
)


@dataclass
class Bench:
    """Where everything lies, and what the hook said."""

    python: Path
    folder: Path
    stage: Path
    socket: Path
    cpu: int | None
    environment: dict[str, str]
    events: list[Event] = field(default_factory=list)

    def start(
        self, variant: str, changes: Mapping[str, Any], **pipes: Any
    ) -> subprocess.Popen[str]:
        """Start the training program of a variant."""
        environment = dict(self.environment)
        if variant == HOOKED:
            inherited = environment.get("PYTHONPATH")
            stage_path = str(self.stage)
            environment["PYTHONPATH"] = (
                stage_path if not inherited else stage_path + os.pathsep + inherited
            )
            environment["YOLOWATCH_SOCKET"] = str(self.socket)
        settings = {
            "project": str(self.folder / "runs"),
            "name": variant.replace(" ", "-"),
            "model": str(PROGRAMS / "tiny.yaml"),
            "cpu": self.cpu,
            "baton": None,
            **changes,
        }
        return subprocess.Popen(
            [*ALIKE, self.python, str(PROGRAMS / "steps.py"), json.dumps(settings)],
            env=environment,
            stdin=subprocess.DEVNULL,
            text=True,
            **pipes,
        )

    def data(self, images: int, size: int) -> Path:
        """A data set of so many training images; the same ones every time."""
        folder = self.folder / f"images-{images}-{size}"
        subprocess.run(
            [sys.executable, ROOT / "yolowatch/demo/images.py", folder, str(images), str(size)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return folder / "data.yaml"


class Runner:
    """One training that waits for the baton."""

    def __init__(self, bench: Bench, variant: str, changes: Mapping[str, Any]) -> None:
        self.variant = variant
        theirs_in, self._out = os.pipe()
        ours_in, theirs_out = os.pipe()
        self._log = bench.folder / f"{variant.replace(' ', '-')}.log"
        with self._log.open("w") as log:
            self._process = bench.start(
                variant,
                {**changes, "baton": [theirs_in, theirs_out]},
                stdout=log,
                stderr=log,
                pass_fds=(theirs_in, theirs_out),
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self._lines = os.fdopen(ours_in)
        self.pid = self._process.pid
        self._report()  # its first epoch: imports, caches, the optimizer's state

    def turn(self, word: bytes = b"+") -> dict[str, Any]:
        """One block; what it took."""
        os.write(self._out, word)
        return self._report()

    def end(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._out, b".")
        self._process.wait()
        os.close(self._out)
        self._lines.close()

    def _report(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            sys.exit(f"{self.variant} ended early:\n{self._log.read_text()[-3000:]}")
        report: dict[str, Any] = json.loads(line)
        return report


Turns = Mapping[str, Callable[[], dict[str, Any]]]
"""For each variant what makes it train a block."""


def measure_steps(bench: Bench, setting: Setting, rounds: int) -> dict[str, Any]:
    """Blocks of all variants, in three processes and in one; microseconds a step."""
    per_epoch = setting.steps + WARM
    changes = {
        "data": str(bench.data(per_epoch * setting.batch, setting.imgsz)),
        "batch": setting.batch,
        "imgsz": setting.imgsz,
        "steps": setting.steps,
        "objects": setting.objects,
        "epochs": EPOCHS,
    }
    bench.events.clear()
    runners = [Runner(bench, variant, changes) for variant in VARIANTS]
    turns: Turns = {runner.variant: runner.turn for runner in runners}
    three = _measure(turns, rounds, f"{setting.name} step, three processes")
    messages = [event for event in list(bench.events) if isinstance(event, HookMessage)]
    proof = _proof(messages, runners[-1].pid)
    one_turn = runners[-1].turn
    turns = {
        BARE: lambda: one_turn(b"o"),
        AGAIN: lambda: one_turn(b"o"),
        HOOKED: lambda: one_turn(b"i"),
    }
    one = _measure(turns, rounds, f"{setting.name} step, one process")
    for runner in runners:
        runner.end()
    losses = three.pop("losses")
    del one["losses"]
    return {
        **asdict(setting),
        "identical_losses": losses[BARE] == losses[AGAIN] == losses[HOOKED],
        "hook": proof,
        "three_processes": three,
        "one_process": one,
    }


def _measure(turns: Turns, rounds: int, title: str) -> dict[str, Any]:
    """Rounds in which every variant has two blocks, mirrored so that a drift falls out."""
    found = {figure: [{v: [] for v in VARIANTS} for _ in range(rounds)] for figure in FIGURES}
    losses: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for number in range(rounds):
        first = number % len(VARIANTS)
        order = VARIANTS[first:] + VARIANTS[:first]
        for variant in order + order[::-1]:
            report = turns[variant]()
            for figure in FIGURES:
                found[figure][number][variant].append(report[figure + "_ns"] / 1000)
            losses[variant].append(report["loss"])
        print(f"\r{title}: round {number + 1} of {rounds}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return {
        "step_us": {v: round(median(b for r in found["mean"] for b in r[v]), 1) for v in VARIANTS},
        **{figure: _compare(found[figure]) for figure in FIGURES},
        "losses": losses,
        "blocks_us": {
            figure: [{v: [round(b, 1) for b in r[v]] for v in VARIANTS} for r in found[figure]]
            for figure in FIGURES
        },
    }


def _compare(rounds: list[dict[str, list[float]]]) -> dict[str, Any]:
    bare = (BARE, AGAIN)
    return {
        "hook_us": paired.difference(rounds, HOOKED, bare).to_json(),
        "hook_ratio": paired.ratio(rounds, HOOKED, bare).to_json(),
        "bare_again_us": paired.difference(rounds, AGAIN, (BARE,)).to_json(),
        "bare_again_ratio": paired.ratio(rounds, AGAIN, (BARE,)).to_json(),
    }


def _proof(messages: list[HookMessage], hooked_pid: int) -> dict[str, Any]:
    """What the hook said: that it was really at work, and only in the hooked variant."""
    kinds = [message.kind for message in messages]
    samples = [message.fields for message in messages if message.kind == "sample"]
    if {message.process.pid for message in messages} != {hooked_pid} or not samples:
        sys.exit("the hook did not speak, or spoke in another process: nothing was measured")
    return {
        "messages": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "footprints": sum(len(m.fields["items"]) for m in messages if m.kind == "footprints"),
        "steps_told": sum(fields.get("steps", 0) for fields in samples),
        "dropped": samples[-1].get("dropped", 0),
        "faults": samples[-1].get("faults", 0),
    }


def measure_processes(bench: Bench, repetitions: int) -> dict[str, Any]:
    """Fresh processes in turn: seconds to the first step, seconds to the end, memory."""
    setting = SETTINGS[0]
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
            with bench.start(variant, changes, stdout=-1, stderr=-2) as process:
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
        print(f"\rprocesses: {number + 1} of {repetitions}", end="", file=sys.stderr)
    print(file=sys.stderr)
    names = ("start_seconds", "end_seconds", "resident_peak_bytes")
    medians = {v: {n: median(each[n] for each in found[v]) for n in names} for v in VARIANTS}
    return {"repetitions": repetitions, "medians": medians, "all": found}


@contextlib.contextmanager
def prepared(cpu: int | None) -> Iterator[Bench]:
    """A staged hook, a listener that keeps what it hears, and a folder for it all."""
    python = environments.trainer_python("ultralytics")
    with tempfile.TemporaryDirectory(prefix="yolowatch-bench-") as name:
        folder = Path(name)
        environment = {**os.environ, **environments.trainer_variables(folder / "settings")}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        for variable in ("PYTHONDONTWRITEBYTECODE", "YOLOWATCH", "YOLOWATCH_SOCKET"):
            environment.pop(variable, None)
        (folder / "state").mkdir(mode=0o700)
        staged = stage(folder / "state")
        bench = Bench(python, folder, staged.path, folder / "hook.sock", cpu, environment)
        lock = threading.Lock()

        def keep(event: Event) -> bool:
            with lock:
                bench.events.append(event)
            return True

        uids = frozenset({os.getuid()})
        listener = Listener(bench.socket, keep, uids=uids, clock=SystemClock())
        listener.start()
        try:
            yield bench
        finally:
            listener.close()


INTRODUCTION = """
Made by `python bench/hook_overhead.py --rounds {rounds}`: a real Ultralytics trainer on one CPU
thread, the variants in alternating blocks. Medians with 95 % intervals (bootstrap over rounds, then
blocks). *Bare again* against *bare* is the noise of the measurement: a difference within it is not
resolved. There is more of it between three processes than in one process, out of which the hook is
taken between blocks, because equal processes differ by where their memory happens to lie."""
COLUMNS = """
The mean step of a block has everything in it, also what the hook does only now and then; the median
step is what most steps cost, and least disturbed by other programs."""


def page(document: Mapping[str, Any]) -> str:
    """The results for people."""
    lines = [
        "# What the hook costs a training",
        "",
        machine.paragraph(machine.sentence(document["machine"])),
        machine.paragraph(INTRODUCTION.format(rounds=document["rounds"])),
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
    options = parser.parse_args()
    with prepared(options.cpu if options.cpu >= 0 else None) as bench:
        document: dict[str, Any] = {
            "machine": machine.describe(bench.python, bench.environment),
            "rounds": options.rounds,
            "steps": [measure_steps(bench, setting, options.rounds) for setting in SETTINGS],
            "processes": measure_processes(bench, options.repetitions),
        }
    text = page(document)
    print(text)
    if options.record:
        machine.record("hook_overhead", document, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
