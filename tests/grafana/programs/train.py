"""A training of the size of a real one, without torch or a GPU, for the tests of dashboards.

    python train.py --project DIR --name NAME [--epochs N] [--steps N] [--batch-size N]
        [--device cuda:N] [--model NAME] [--fixed-gib X] [--image-gib X] [--fail NUMBER:KIND]
    python train.py … --resume RUN/weights/last.pt

The real hook's agent tells of it. The image's size changes from batch to batch as in multi-scale
training, and the memory follows it. In epoch NUMBER it fails: for lack of memory (`oom` unless its
batch is smaller than it was, `always` even then), or with an error of the program (`error`).
Started with the staged hook on PYTHONPATH; what it holds of its GPU stands in RUN/held for whoever
plays the driver.
"""

import argparse
import json
import os
import pickle
import random
import sys
import time
import zipfile
from pathlib import Path

from yolowatch_hook.agent import agent
from yolowatch_hook.footprint import Footprints
from yolowatch_hook.place import place

GIB = 1 << 30
CAPACITY = 23 * GIB
OOM = (
    "CUDA out of memory. Tried to allocate 1.20 GiB. GPU 0 has a total capacity of 24.00 GiB of "
    "which 310.00 MiB is free. Including non-PyTorch memory, this process has 23.10 GiB memory in "
    "use. Of the allocated memory 21.40 GiB is allocated by PyTorch, and 1.10 GiB is reserved by "
    "PyTorch but unallocated."
)

parser = argparse.ArgumentParser()
for name, default in (("--epochs", 30), ("--steps", 20), ("--batch-size", 32)):
    parser.add_argument(name, type=int, default=default)
for name, default in (("--fixed-gib", 2.5), ("--image-gib", 0.5), ("--step-seconds", 0.05)):
    parser.add_argument(name, type=float, default=default)
for name, default in (("--project", ""), ("--name", ""), ("--resume", ""), ("--fail", "-1:none")):
    parser.add_argument(name, default=default)
parser.add_argument("--device", default="cuda:0")
parser.add_argument("--model", default="yolov5m.pt")
options = parser.parse_args()
run_dir = Path(options.project).resolve() / options.name
last = run_dir / "weights" / "last.pt"
fail_in, _, fail_kind = options.fail.partition(":")
epoch, seen, batch = 0, 0, options.batch_size


class Played:
    """An allocator that says what such a batch would take of a GPU."""

    name = options.device
    now = highest = reserved = int(options.fixed_gib * GIB)
    retries = ooms = 0

    def used(self):
        return self.now

    def peak(self):
        return self.highest

    def take(self, wanted):
        self.now = int(wanted)
        self.highest = max(self.highest, self.now)
        self.reserved = min(CAPACITY, max(self.reserved, int(self.now * 1.06)))

    def read(self):
        return {
            "allocated_bytes": self.now,
            "reserved_bytes": self.reserved,
            "inactive_split_bytes": (self.reserved - self.now) // 4,
            "peak_bytes": self.highest,
            "capacity_bytes": CAPACITY,
            "active_bytes": self.now + (self.reserved - self.now) // 8,
            "retries": self.retries,
            "ooms": self.ooms,
        }


def note(event, **facts):
    with (run_dir / "trained.jsonl").open("a") as file:
        file.write(json.dumps({"event": event, "pid": os.getpid(), **facts}) + "\n")


def save(number, optimizer):
    with zipfile.ZipFile(last, "w") as archive:
        facts = {"epoch": number, "optimizer": optimizer, "images_seen": seen}
        archive.writestr("archive/data.pkl", pickle.dumps(facts, protocol=2))
        archive.writestr("archive/data/0", b"\7" * 50_000)


def hold():
    """Say how much of the GPU this process has, as its driver would."""
    unfinished = run_dir / "held.new"
    unfinished.write_text(f"{os.getpid()} {allocator.reserved + GIB // 2}")
    unfinished.replace(run_dir / "held")


if options.resume:
    with zipfile.ZipFile(last) as archive:
        saved = pickle.loads(archive.read("archive/data.pkl"))  # noqa: S301 (our own)
    epoch, seen = saved["epoch"] + 1, saved["images_seen"]
    lines = (run_dir / "opt.yaml").read_text().splitlines()
    batch = int(next(each for each in lines if each.startswith("batch_size:")).split()[1])
else:
    last.parent.mkdir(parents=True)
    (run_dir / "opt.yaml").write_text(f"batch_size: {batch}\nhyp:\n  weight_decay: 0.0005\n")
    (run_dir / "hyp.yaml").write_text("weight_decay: 0.0005\n")
    (run_dir / "results.csv").write_text("epoch,loss\n")

allocator = agent._allocator = Played()
agent.footprints = Footprints(allocator)
place.train_calls = 1
nbs = json.loads(os.environ.get("YOLOWATCH_EDITS", "{}")).get("nbs") or 64
accumulate = max(round(nbs / batch), 1)
note("start", epoch=epoch, batch=batch, accumulate=accumulate, nbs=nbs)
agent.start(options.device)
agent.tell(
    "run",
    trainer="yolov5", trainer_version="7.0.14", entry="command", train_calls=1,
    run_dir=str(run_dir), model=options.model, task="detect", batch=batch, accumulate=accumulate,
    nbs=nbs, weight_decay=0.0005, effective_weight_decay=0.0005, epochs=options.epochs,
    start_epoch=epoch, image_size=640, image_size_min=320, image_size_max=960, stride=32,
    precision="fp16", optimizer="SGD", optimizer_state_bytes=GIB // 2, parameter_bytes=GIB // 4,
    optimizer_state_exists=True, device=options.device, resumed=bool(options.resume),
    multi_scale=0.5, checkpointable=0, checkpointed=0, train_images=options.steps * batch,
    validation_batch=2 * batch,
)  # fmt: skip
sizes = random.Random(options.name + str(epoch))
for number in range(epoch, options.epochs):
    place.epoch = number
    for i in range(options.steps):
        size = 32 * round(sizes.triangular(10, 30, 20))
        if number == int(fail_in) and i == options.steps // 2:
            size = 960
        place.phase, place.batch, place.height, place.width = "forward", batch, size, size
        place.accumulate = accumulate
        agent.footprints.begin("backward", batch, size, size, batch * 7)
        wanted = (options.fixed_gib + options.image_gib * batch * (size / 640) ** 2) * GIB
        allocator.take(min(wanted, CAPACITY))
        hold()
        time.sleep(options.step_seconds / 2)
        failing = number == int(fail_in) and i == options.steps // 2
        if failing and fail_kind == "error":
            words = {"exception": "RuntimeError", "text": "shape '[32, 3, 85]' is invalid"}
            agent.tell_at_any_cost(
                "last_words", handled=False, train_calls=1, **place.fields(), **allocator.read(),
                **words,
            )  # fmt: skip
            sys.exit(1)
        if failing and (fail_kind == "always" or batch >= options.batch_size):
            allocator.retries, allocator.ooms = 2, 1
            agent.flush()
            words = {"exception": "torch.cuda.OutOfMemoryError", "text": OOM, "train_calls": 1}
            told = dict(place.fields(), **allocator.read())
            agent.tell_at_any_cost("last_words", handled=False, **told, **words)
            sys.exit(1)
        agent.footprints.forward_end()
        place.phase = "backward"
        time.sleep(options.step_seconds / 2)
        agent.footprints.end()
        allocator.take(options.fixed_gib * GIB)
        seen += batch
        place.step += 1
    place.phase = "validation"
    allocator.take((options.fixed_gib + options.image_gib * batch * 0.4) * GIB)
    note("epoch", epoch=number)
    with (run_dir / "results.csv").open("a") as table:
        table.write(f"{number},0.5\n")
    time.sleep(options.step_seconds * 5)
    allocator.take(options.fixed_gib * GIB)
    place.phase = "save"
    agent.tell("epoch_end", epoch=number, validated=True)
    save(number, {"state": {}})
    note("saved", epoch=number)
    agent.tell_at_any_cost("checkpoint", path=str(last), epoch=number, step=place.step)
save(-1, None)
note("end", images_seen=seen)
agent.tell_at_any_cost("bye", finished=True, epoch=options.epochs - 1)
