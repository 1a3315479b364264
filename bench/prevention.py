"""Is a lack of memory that can be foreseen prevented? Real trainings under a real capacity.

    python bench/prevention.py [--seeds N] [--new N] [--seconds S] [--folder DIRECTORY] [--record]

Two trainers draw sizes from half to one and a half times the image size, under a capacity that only
sizes above 1.2 times exceed: the middle between the highest peaks of two trainings that drew no
larger ones, and only the next larger. Each seed trains three times: as it is, with a guarded start,
and where the two of before have taught their law. And a program that validates with a batch
that would not fit. What counts is how often each had to be started again.

What is complete is kept in the folder and not made again: the program may be interrupted, and
`--new` ends it after so many trainings.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.support import machine
from bench.support.preventing import STRIDE, TRAINERS, Ground, Seen, Training, first_above
from tests import environments
from tests.trainers.scene import STEADY

SIZE, BATCH, EPOCHS = 160, 8, 2
RATIO = 1.2
EARLY = 10  # batches in which a large size may come before anything is known
POLICIES = {"as it is": "", "guarded": "guarded_start: true\n", "known law": ""}
MARGIN = "margin: 0.01\n"
VALIDATION_BATCH = 64
NETWORKS = {
    "ultralytics": str(machine.ROOT / "bench/programs/networks/ultralytics-small.yaml"),
    "yolov5": str(machine.ROOT / "tests/trainers/data/yolov5-small.yaml"),
}
TEXT = """
Made by `python bench/prevention.py --seeds {seeds}`: small networks, batch {batch}, image size
{size}, {epochs} epochs of {images} batches, sizes from half to one and a half times, under a limit
of the data segment that only sizes above {ratio} times exceed. The seeds are 0 to {last}, none left
out. *late*: the first such size comes after batch {early} of the user's own range."""


class Bench:
    """The trainings, and what is known of each that is complete."""

    def __init__(self, folder: Path, most: int, seconds: float) -> None:
        self._runs = folder / "runs"
        self._runs.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ground = Ground(folder / "trainings")
        self._most = most
        self._until = time.monotonic() + seconds

    def of(
        self, name: str, training: Training, policy: str = "", mode: str = "auto", law: str = ""
    ) -> dict[str, Any] | None:
        """What came of this training; made now where it must be, None where it may not."""
        kept = self._runs / f"{name}.json"
        if not kept.exists():
            if self._most <= 0 or time.monotonic() > self._until:
                return None
            self._most -= 1
            state = self._folder / f"law-{law}" if law else None
            began = time.monotonic()
            seen = self._ground.train(training, name, MARGIN + policy, mode, state)
            found = asdict(training) | _figures(seen)
            part = kept.with_suffix(".part")
            part.write_text(json.dumps(found))
            part.rename(kept)
            machine.say(
                f"{name}: {found['restarts']} restarts, orders {found['ordered']}, "
                f"{time.monotonic() - began:.0f} s"
            )
            if seen.status:
                (self._runs / f"{name}.log").write_text(seen.output)
            shutil.rmtree(self._folder / "trainings" / name, ignore_errors=True)
        document: dict[str, Any] = json.loads(kept.read_text())
        return document

    def capacity(self, trainer: str) -> int | None:
        """The middle of two peaks."""
        next_size = (int(SIZE * RATIO) // STRIDE + 1) * STRIDE
        peaks = []
        for largest in (next_size - STRIDE, next_size):
            training = _training(trainer, seed=3, largest=largest)
            name = f"{trainer}-up-to-{largest}"
            found = self.of(name, training, mode="observe", law=trainer)
            if found is None:
                return None
            peaks.append(found["peak"])
        return sum(peaks) // 2

    def validation_capacity(self) -> int | None:
        """The middle between what a training took and what its validation took then."""
        training = replace(
            _training("ultralytics", seed=3),
            multi_scale=False,
            epochs=1,
            validation_batch=VALIDATION_BATCH,
        )
        found = self.of("validation-free", training, mode="observe")
        if found is None:
            return None
        return int(found["before_validation"] + found["peak"]) // 2


def _training(trainer: str, seed: int, **changes: Any) -> Training:
    plain = Training(trainer, BATCH, SIZE, EPOCHS, seed=seed, model=NETWORKS[trainer])
    return replace(plain, **changes)


def _figures(seen: Seen) -> dict[str, Any]:
    validations = [fact["peak"] for fact in seen.facts if fact["event"] == "validation"]
    receipts = seen.shown.get("receipts", [])
    live = [each for each in receipts if each["resume"]["start"] == "live"]
    return {
        "status": seen.status,
        "restarts": seen.restarts,
        "peak": seen.peak,
        "before_validation": validations[0] if validations else None,
        "sizes": seen.sizes(),
        "ordered": [f"{e['levers'][0]['name']}: {e['levers'][0]['after']}" for e in live],
        "plans": len(seen.shown.get("plans", [])),
        "incidents": [[e["kind"], e["outcome"]] for e in seen.shown.get("incidents", [])],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="default: 20")
    parser.add_argument("--new", type=int, default=10_000, metavar="N", help="trainings at most")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no training after that")
    parser.add_argument("--folder", type=Path, default=machine.ROOT / "build" / "prevention")
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    options = parser.parse_args()
    bench = Bench(options.folder.resolve(), options.new, options.seconds)
    runs = list(_trained(bench, options.seeds))
    python = environments.trainer_python("ultralytics")
    document = {"machine": machine.describe(python, {**STEADY}), "runs": runs}
    text = page(document, options.seeds)
    print(text)
    if options.record:
        machine.record("prevention", document, text)
    return 0


def _trained(bench: Bench, seeds: int) -> Any:
    capacities = {trainer: bench.capacity(trainer) for trainer in TRAINERS}
    for seed in range(seeds):
        for variant, policy in POLICIES.items():
            for trainer, capacity in capacities.items():
                if capacity is None:
                    continue
                name = f"{trainer}-{variant.replace(' ', '-')}-{seed}"
                law = trainer if variant == "known law" else ""
                training = _training(trainer, seed=seed, capacity=capacity)
                found = bench.of(name, training, policy, law=law)
                if found is not None:
                    first = first_above(seed, SIZE, RATIO)
                    yield {"case": "sizes", "variant": variant, "first_large": first, **found}
    validation = bench.validation_capacity()
    for seed in range(seeds) if validation is not None else ():
        changed = {"multi_scale": False, "validation_batch": VALIDATION_BATCH, "epochs": 1}
        training = _training("ultralytics", seed=seed, capacity=validation, **changed)
        found = bench.of(f"validation-{seed}", training)
        if found is not None:
            yield {"case": "validation", "variant": "as it is", "first_large": None, **found}


def _class(run: Mapping[str, Any]) -> str:
    if run["case"] == "validation":
        return f"validation batch of {VALIDATION_BATCH}"
    if run["variant"] != "as it is":
        return str(run["variant"])
    first = run["first_large"]
    return "as it is, late" if first is None or first >= EARLY else "as it is, early"


def page(document: Mapping[str, Any], seeds: int) -> str:
    """The table, and every training that had to be started again."""
    images = -(-64 // BATCH)
    text = TEXT.format(
        seeds=seeds,
        last=seeds - 1,
        batch=BATCH,
        size=SIZE,
        epochs=EPOCHS,
        images=images,
        ratio=RATIO,
        early=EARLY,
    )
    lines = ["# Is what can be foreseen prevented?", ""]
    lines += [machine.paragraph(machine.sentence(document["machine"])), machine.paragraph(text)]
    wanted = seeds * (len(POLICIES) * len(TRAINERS) + 1)
    if len(document["runs"]) < wanted:
        lines += [f"**Not complete**: {len(document['runs'])} of {wanted} trainings are made.", ""]
    lines += ["| trainer | class | seeds | no restart | one | more | not finished | ordered live |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in document["runs"]:
        groups.setdefault((run["trainer"], _class(run)), []).append(run)
    for (trainer, name), runs in sorted(groups.items()):
        often = Counter(min(run["restarts"], 2) for run in runs)
        failed = sum(run["status"] != 0 for run in runs)
        live = sum(bool(run["ordered"]) for run in runs)
        cells = (trainer, name, len(runs), often[0], often[1], often[2], failed, live)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "Started again, or not finished:", ""]
    for run in document["runs"]:
        if run["restarts"] or run["status"]:
            lines.append(
                f"- {run['trainer']}, {_class(run)}, seed {run['seed']}: {run['restarts']} "
                f"restarts, status {run['status']}, sizes {run['sizes']}, {run['incidents']}"
            )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
