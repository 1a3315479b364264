"""A seeded Ultralytics training that trains only while it holds the baton, or once from end to end.

Runs in the trainer's own Python. The loop is Ultralytics' own: this program speaks in callbacks.
With a baton, an epoch is one turn: two batches to get warm, then a timed block, then a line of
JSON, then a pause until the next byte comes: `+` go on, `o` take what wraps the trainer's methods
out first, `i` put it in again, anything else is the end. Alone, it writes down when it began and
ended to train and what memory it held.

Usage: python steps.py SETTINGS   (a JSON object: data, project, name, model, batch, imgsz, steps,
objects, hollow, timed, epochs, cpu or null; and baton: [descriptor to read from, to write to] or
null). A hollow training has the trainer's loop and optimizer, but a network that computes next to
nothing. A timed one also says how long its steps were between a call of one of the trainer's
methods and that method: in what wraps it.
"""

import functools
import itertools
import json
import os
import statistics
import sys
import time

settings = json.loads(sys.argv[1])
if settings["cpu"] is not None:
    os.sched_setaffinity(0, {settings["cpu"]})

import torch  # noqa: E402
from ultralytics.nn.tasks import BaseModel  # noqa: E402


def hollow_forward(model, x, *args, **kwargs):
    """Of a batch the loss of one small parameter; of anything else what the network makes of it."""
    if not isinstance(x, dict):
        return network_forward(model, x, *args, **kwargs)
    if "criterion" not in vars(model):
        model.criterion = None  # which the network's own loss would have made
    loss = next(model.parameters()).square().sum()
    return loss, {"loss": loss.detach()}


network_forward = BaseModel.forward
if settings["hollow"]:
    assert "ultralytics.engine.trainer" not in sys.modules, "after it the hook has wrapped forward"
    BaseModel.forward = hollow_forward

from ultralytics import YOLO  # noqa: E402
from ultralytics.engine.trainer import BaseTrainer  # noqa: E402

torch.set_num_threads(1)
WARM = 2
steps, baton = settings["steps"], settings["baton"]


class Collated:
    """The trainer's own batches, read and augmented once, so that each epoch costs the same."""

    def __init__(self, loader):
        self._batches = list(loader)
        if not settings["objects"]:  # without boxes the loss is a fraction of the work
            for batch in self._batches:
                batch.update({key: batch[key][:0] for key in ("cls", "bboxes", "batch_idx")})
        self.dataset, self.batch_size, self.num_workers = loader.dataset, loader.batch_size, 0

    def __len__(self):
        return len(self._batches)

    def __iter__(self):
        return (dict(batch) for batch in self._batches)  # the trainer replaces the images in it

    def reset(self):
        """The trainer asks for it; nothing changes from epoch to epoch."""


class Turn:
    """Times the batches of one epoch and those of its block together."""

    def __init__(self):
        self.ends = []
        self.processor_ns = 0

    def begin(self, _trainer):
        self.ends.clear()

    def end_batch(self, trainer):
        self.ends.append(time.perf_counter_ns())
        if len(self.ends) == WARM:
            self.processor_ns = time.process_time_ns()
            crossings.spent_ns = 0
        elif len(self.ends) == WARM + steps:
            processor_ns = time.process_time_ns() - self.processor_ns
            ends = self.ends[WARM - 1 :]
            report = {
                "mean_ns": (ends[-1] - ends[0]) / steps,
                "median_ns": statistics.median(b - a for a, b in itertools.pairwise(ends)),
                "processor_ns": processor_ns / steps,
                "crossing_ns": crossings.spent_ns / steps,
                "loss": float(trainer.loss.detach()),
            }
            os.write(baton[1], json.dumps(report).encode() + b"\n")
            wait()


METHODS = (
    (BaseTrainer, "run_callbacks"),
    (BaseTrainer, "optimizer_step"),
    (BaseModel, "forward"),
)


class Wrapping:
    """What stands in the way of every step: wrapped methods."""

    def __init__(self):
        self._wrapped = [(owner, name, getattr(owner, name)) for owner, name in METHODS]

    def put(self, inside):
        """Let the methods be the wrapped ones or the trainer's own."""
        for owner, name, wrapped in self._wrapped:
            setattr(owner, name, wrapped if inside else wrapped.__wrapped__)


class Crossings:
    """Times the way from a call of a method to the trainer's own, and back from it.

    A method that nothing wraps is timed as well: that is what the timing itself takes.
    """

    def __init__(self):
        self.spent_ns = self._since_ns = 0

    def install(self):
        for owner, name in METHODS:
            method = getattr(owner, name)
            if hasattr(method, "__wrapped__"):
                names = method.__code__.co_freevars
                cell = method.__closure__[names.index("original")]
                cell.cell_contents = self._inside(cell.cell_contents)
            else:
                method = self._inside(method)
            setattr(owner, name, self._outside(method))

    def _outside(self, method):
        @functools.wraps(method)
        def called(*args, **kwargs):
            self._since_ns = time.perf_counter_ns()
            result = method(*args, **kwargs)
            self.spent_ns += time.perf_counter_ns() - self._since_ns
            return result

        return called

    def _inside(self, original):
        @functools.wraps(original)
        def called(*args, **kwargs):
            self.spent_ns += time.perf_counter_ns() - self._since_ns
            result = original(*args, **kwargs)
            self._since_ns = time.perf_counter_ns()
            return result

        return called


def wait():
    """Until the baton comes, with a word."""
    word = os.read(baton[0], 1)
    if word in (b"i", b"o"):
        wrapping.put(inside=word == b"i")
    elif word != b"+":
        os._exit(0)


def collate(trainer):
    trainer.train_loader = Collated(trainer.train_loader)


def status(name):
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    raise KeyError(name)


def begin(_trainer):
    noted["began"] = time.monotonic()


def end(_trainer):
    noted["ended"] = time.monotonic()
    noted["resident_peak_bytes"] = status("VmHWM")
    os.write(1, b"\n" + json.dumps(noted).encode() + b"\n")


noted = {}
wrapping, turn, crossings = Wrapping(), Turn(), Crossings()
if settings["timed"]:
    crossings.install()
model = YOLO(settings["model"])
if baton is not None:
    model.add_callback("on_train_start", collate)
    model.add_callback("on_train_epoch_start", turn.begin)
    model.add_callback("on_train_batch_end", turn.end_batch)
else:
    model.add_callback("on_train_start", begin)
    model.add_callback("on_train_end", end)
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
