"""A seeded Ultralytics training that trains only while it holds the baton, or once from end to end.

Runs in the trainer's own Python and knows nothing of yolowatch. The loop is Ultralytics' own: this
program speaks in callbacks. With a baton, an epoch is one turn: two batches to get warm, then a
timed block, then a line of JSON, then a pause until the next byte comes. Alone, it writes down when
it began and ended to train and what memory it held.

Usage: python steps.py SETTINGS   (a JSON object: data, project, name, model, batch, imgsz, steps,
epochs, cpu or null; and baton: [descriptor to read from, descriptor to write to] or null)
"""

import json
import os
import sys
import time

settings = json.loads(sys.argv[1])
if settings["cpu"] is not None:
    os.sched_setaffinity(0, {settings["cpu"]})

import torch  # noqa: E402
from ultralytics import YOLO  # noqa: E402

torch.set_num_threads(1)
WARM = 2
steps, baton = settings["steps"], settings["baton"]


class Collated:
    """The trainer's own batches, read and augmented once, so that each epoch costs the same."""

    def __init__(self, loader):
        self._batches = list(loader)
        self.dataset, self.batch_size, self.num_workers = loader.dataset, loader.batch_size, 0

    def __len__(self):
        return len(self._batches)

    def __iter__(self):
        return (dict(batch) for batch in self._batches)  # the trainer replaces the images in it

    def reset(self):
        """The trainer asks for it; nothing changes from epoch to epoch."""


class Turn:
    """Counts the batches of one epoch and times those of its block."""

    batch = 0
    began = (0, 0)


def clocks():
    return time.perf_counter_ns(), time.process_time_ns()


def collate(trainer):
    trainer.train_loader = Collated(trainer.train_loader)


def begin_epoch(_trainer):
    Turn.batch = 0


def end_batch(trainer):
    Turn.batch += 1
    if Turn.batch == WARM:
        Turn.began = clocks()
    elif Turn.batch == WARM + steps:
        now = clocks()
        report = {
            "wall_ns": now[0] - Turn.began[0],
            "cpu_ns": now[1] - Turn.began[1],
            "loss": float(trainer.loss),
        }
        os.write(baton[1], json.dumps(report).encode() + b"\n")
        if os.read(baton[0], 1) != b"+":
            os._exit(0)


def status(name):
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    raise KeyError(name)


def note(event):
    def callback(_trainer):
        noted[event] = time.monotonic()
        if event == "ended":
            noted["resident_bytes"] = status("VmRSS")
            noted["resident_peak_bytes"] = status("VmHWM")
            os.write(1, b"\n" + json.dumps(noted).encode() + b"\n")

    return callback


noted = {}
model = YOLO(settings["model"])
if baton is not None:
    model.add_callback("on_train_start", collate)
    model.add_callback("on_train_epoch_start", begin_epoch)
    model.add_callback("on_train_batch_end", end_batch)
else:
    model.add_callback("on_train_start", note("began"))
    model.add_callback("on_train_end", note("ended"))
model.train(
    data=settings["data"],
    project=settings["project"],
    name=settings["name"],
    epochs=settings["epochs"],
    batch=settings["batch"],
    nbs=settings["batch"],  # an optimizer step after every batch
    imgsz=settings["imgsz"],
    seed=0,
    device="cpu",
    amp=False,
    workers=0,
    warmup_epochs=0,
    optimizer="SGD",
    patience=0,
    mosaic=0.0,
    close_mosaic=0,
    plots=False,
    val=False,
    save=False,
)
