"""How well the peak of a training is forecast: real short trainings of three trainers on the CPU.

    python bench/forecast.py [--runs N] [--seconds S] [--folder DIRECTORY] [--record]

Each training is one epoch of 55 batches and its validation. What it says through the hook until
its 5th, 10th, 25th and 50th batch is given to the product's own forecast, which is held against
the most that the process took until its end, as the kernel counted it: in growth over what it had
in use before its first batch. What is complete is kept in the folder and not made again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.support import machine
from bench.support.footprints import Ground, shapes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=120, metavar="N", help="default: 120")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no training after that")
    parser.add_argument("--folder", type=Path, default=machine.ROOT / "build" / "forecast")
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    options = parser.parse_args()
    folder = options.folder.resolve()
    kept = folder / "runs"
    kept.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    wanted = shapes()[: options.runs]
    missing = [shape for shape in wanted if not (kept / f"{shape.name}.json").exists()]
    if missing:
        ground = Ground(folder)
        try:
            for shape in missing:
                if time.monotonic() - began > options.seconds:
                    break
                since = time.monotonic()
                try:
                    found = ground.train(shape)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    machine.say(f"{shape.name} failed: {error}")
                    continue
                part = kept / f"{shape.name}.part"
                part.write_text(json.dumps(found))
                part.rename(kept / f"{shape.name}.json")
                machine.say(f"{shape.name}: {time.monotonic() - since:.1f} s")
        finally:
            ground.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
