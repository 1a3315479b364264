"""The miniature without torch: the real hook's agent tells of a training that is only played.

    python train.py --project DIR --name NAME [--epochs N] [--images N] [--batch-size N]
    python train.py … --resume RUN/weights/last.pt

The same run directory and the same log as the miniature's, in a tenth of its time: for the many
cells of a matrix where torch makes no difference. It runs out of memory in its second epoch unless
its batch is smaller than 32; with UNTIL_KILLED in its environment it then takes memory until the
kernel ends it. Started with the staged hook on PYTHONPATH.
"""

import argparse
import json
import mmap
import os
import pickle
import sys
import time
import zipfile
from pathlib import Path

from yolowatch_hook.agent import agent
from yolowatch_hook.footprint import Footprints
from yolowatch_hook.place import place

MIB = 1 << 20
FLOOR, PER_IMAGE, CAPACITY = 200 * MIB, 20 * MIB, 600 * MIB
OOM = (
    "[enforce fail at alloc_cpu.cpp:113] . DefaultCPUAllocator: can't allocate memory: "
    f"you tried to allocate {200 * MIB} bytes. Error code 12 (Cannot allocate memory)"
)


class Played:
    """An allocator that says what the batch would take."""

    name = "cpu"
    now = highest = FLOOR

    def used(self):
        return self.now

    def peak(self):
        return self.highest

    def read(self):
        figures = dict.fromkeys(("allocated_bytes", "reserved_bytes"), self.now)
        return {**figures, "peak_bytes": self.highest, "capacity_bytes": CAPACITY}


parser = argparse.ArgumentParser()
for name, default in (("--epochs", 3), ("--images", 64), ("--batch-size", 32)):
    parser.add_argument(name, type=int, default=default)
for name in ("--project", "--name", "--resume"):
    parser.add_argument(name, default="")
options = parser.parse_args()
# Whoever looks from outside whether torch is loaded looks for its library.
with open("libtorch_cpu.so", "a+b") as library:
    library.truncate(4096)
    kept = mmap.mmap(library.fileno(), 4096)
run_dir = Path(options.project).resolve() / options.name
last = run_dir / "weights" / "last.pt"
epoch, seen, batch = 0, 0, options.batch_size
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


def note(event, **facts):
    with (run_dir / "trained.jsonl").open("a") as file:
        file.write(json.dumps({"event": event, "pid": os.getpid(), **facts}) + "\n")


def save(number, optimizer):
    with zipfile.ZipFile(last, "w") as archive:
        facts = {"epoch": number, "optimizer": optimizer, "images_seen": seen}
        archive.writestr("archive/data.pkl", pickle.dumps(facts, protocol=2))
        archive.writestr("archive/data/0", b"\7" * 50_000)


allocator = agent._allocator = Played()
agent.footprints = Footprints(allocator)
place.train_calls = 1
nbs = json.loads(os.environ.get("YOLOWATCH_EDITS", "{}")).get("nbs") or 64
accumulate = max(round(nbs / batch), 1)
note("start", epoch=epoch, batch=batch, accumulate=accumulate, nbs=nbs)
agent.start("cpu")
agent.tell(
    "run",
    trainer="yolov5", entry="command", train_calls=1, run_dir=str(run_dir), batch=batch,
    accumulate=accumulate, nbs=nbs, weight_decay=0.0005, effective_weight_decay=0.0005,
    epochs=options.epochs, start_epoch=epoch, image_size=64, image_size_min=64, image_size_max=64,
    stride=32, precision="fp32", optimizer="SGD", optimizer_state_bytes=MIB, parameter_bytes=MIB,
    optimizer_state_exists=True, device="cpu", resumed=bool(options.resume), multi_scale=0.0,
    checkpointable=0, checkpointed=0,
)  # fmt: skip
eaten = []
# A real one takes longer: what it says must not all lie with a killed daemon, and how it began
# can be read only while it lives.
time.sleep(2.0 if options.resume else 0.5)
for number in range(epoch, options.epochs):
    place.epoch = number
    for i in range(options.images // batch):
        place.phase, place.batch, place.height, place.width = "forward", batch, 64, 64
        agent.footprints.begin("backward", batch, 64, 64, 0)
        allocator.now = FLOOR + PER_IMAGE * batch
        if number > 0 and batch >= 32:
            agent.flush()
            if "UNTIL_KILLED" in os.environ:
                time.sleep(1.5)  # until a window is told
            while "UNTIL_KILLED" in os.environ:  # by the kernel, whose limit this process has
                eaten.append(b"x" * MIB)
            words = dict(place.fields(), **{**allocator.read(), "allocated_bytes": 500 * MIB})
            words |= {"exception": "RuntimeError", "text": OOM, "train_calls": 1}
            agent.tell_at_any_cost("last_words", handled=False, **words)
            sys.exit(1)
        allocator.highest = max(allocator.highest, allocator.now)
        agent.footprints.end()
        allocator.now = FLOOR
        seen += batch
        place.step += 1
        note("batch", epoch=number, i=i, images=batch)
        time.sleep(0.02)
    note("epoch", epoch=number)
    with (run_dir / "results.csv").open("a") as table:
        table.write(f"{number},0.5\n")
    agent.tell("epoch_end", epoch=number, validated=True)
    save(number, {"state": {}})
    note("saved", epoch=number)
    agent.tell_at_any_cost("checkpoint", path=str(last), epoch=number, step=place.step)
save(-1, None)
note("end", images_seen=seen)
agent.tell_at_any_cost("bye", finished=True, epoch=options.epochs - 1)
