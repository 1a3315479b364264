"""A user's training program under a real memory limit that its own first epoch calibrates.

After the first epoch the data segment is limited to what the process used between batches plus a
part of what a batch added to it, so that the next epoch fails in the CPU allocator, for real and at
the same place every time. The limit is written down: a later attempt of the same run gets the same.

What the trainer really trains with is appended to FACTS, one JSON object a process.

Usage: python capped.py DATA PROJECT FACTS [KEY=VALUE …]   (settings of the training, and:
part=0.6 of a batch's growth that stays allowed, 0 for no limit; after_batches=N fails in the first
epoch already; calls=1 how often to train; fail_in_call=1 which of them is limited; truncate=true
cuts last.pt in half before the failure; retried=true makes the first batch of all raise what CUDA
would, to which the trainer answers itself; hung=true makes a process that failed hang at its exit,
deaf to SIGTERM)
"""

import atexit
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

import torch
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer

try:
    import polars
except ImportError:
    pass  # releases before 8.4 do without it
else:
    # Each save reads a table with it. Its first use starts threads, and ends the process where the
    # limit forbids them: they are to be there before the limit is.
    polars.read_csv(b"epoch\n1\n").to_dict(as_series=False)


def status(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def data_peak():
    return status("VmPeak") - status("VmSize") + status("VmData")


data, project, facts = sys.argv[1:4]
settings = {
    "epochs": 3,
    "batch": 16,
    "imgsz": 64,
    "seed": 0,
    "workers": 0,
    "device": "cpu",
    "plots": False,
    "close_mosaic": 0,
    "val": False,
    "warmup_epochs": 0,
}
for word in sys.argv[4:]:
    key, _, value = word.partition("=")
    settings[key] = json.loads(value) if value[:1] in "0123456789tf[-" else value
part = settings.pop("part", 0.6)
after_batches = settings.pop("after_batches", None)
calls = settings.pop("calls", 1)
fail_in_call = settings.pop("fail_in_call", 1)
truncate = settings.pop("truncate", False)
retried = settings.pop("retried", False)
hung = settings.pop("hung", False)
model_name = settings.pop("model", "yolo11n.yaml")
limit_file = Path(facts).with_suffix(".limit")
between = []
growth = []


def set_limit(limit_bytes):
    resource.setrlimit(
        resource.RLIMIT_DATA, (limit_bytes, resource.getrlimit(resource.RLIMIT_DATA)[1])
    )


# A limit that does not bind, so that from the start the data segment is what counts.
set_limit(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 9 // 10)


def calibrate(trainer):
    """From now on only a part of a batch's growth fits; the first time only, then as before."""
    if not limit_file.exists() and part and call == fail_in_call:
        limit_file.write_text(str(int(status("VmData") + part * growth[0])))
        if truncate:
            # The copy is taken meanwhile: what tears is a later write.
            copies = trainer.save_dir / ".yolowatch" / "checkpoints"
            deadline = time.monotonic() + 60
            while not list(copies.glob("0*.pt")) and time.monotonic() < deadline:
                time.sleep(0.1)
            os.truncate(trainer.last, trainer.last.stat().st_size // 2)
    if limit_file.exists():
        set_limit(int(limit_file.read_text()))


def at_epoch_start(trainer):
    if trainer.epoch > trainer.start_epoch or limit_file.exists():
        calibrate(trainer)


def at_batch_start(trainer):
    between.append(status("VmData"))
    if after_batches is not None and len(between) == after_batches + 1:
        measure(trainer)
        calibrate(trainer)


def measure(trainer):
    """At the end of an epoch's batches, before the save maps libraries of its own."""
    growth.append(data_peak() - sorted(between)[len(between) // 2])


def note(trainer):
    group = max(group["weight_decay"] for group in trainer.optimizer.param_groups)
    args = trainer.args
    told = {
        "pid": os.getpid(),
        "batch": trainer.batch_size,
        "accumulate": trainer.accumulate,
        "nbs": args.nbs,
        "configured_decay": args.weight_decay * trainer.batch_size * trainer.accumulate / args.nbs,
        "decay": group,
        "optimizer": type(trainer.optimizer).__name__,
        "start_epoch": trainer.start_epoch,
        "save_dir": str(trainer.save_dir),
        "imgsz": args.imgsz,
        "trained": sum(each.requires_grad for each in trainer.model.parameters()),
        "parameters": sum(each.numel() for each in trainer.model.parameters()),
    }
    with open(facts, "a") as file:
        file.write(json.dumps(told) + "\n")


def fail_once(trainer_class):
    """The trainer's own answer to a CUDA failure cannot be had without CUDA: raise its text."""
    original = trainer_class.preprocess_batch
    told = Path(facts).with_suffix(".retried")

    def preprocess_batch(trainer, batch):
        if not told.exists():
            told.touch()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return original(trainer, batch)

    trainer_class.preprocess_batch = preprocess_batch


def hang():
    """As a driver, a worker or a network file system that never answers does."""
    while hasattr(sys, "last_value"):
        time.sleep(1)


if hung:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    atexit.register(hang)
if retried:
    fail_once(DetectionTrainer)
call = 0
while call < calls:
    call += 1
    model = YOLO(model_name)
    model.add_callback("on_train_start", note)
    model.add_callback("on_train_epoch_start", at_epoch_start)
    model.add_callback("on_train_epoch_end", measure)
    model.add_callback("on_train_batch_start", at_batch_start)
    model.train(data=data, project=project, name="run", **settings)
