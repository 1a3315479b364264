"""A user's training program on a GPU whose memory its own first epoch calibrates.

After the first epoch the process may have what it holds between batches plus a part of what a
batch added to it, so that the next epoch fails in the CUDA allocator, for real and at its first
batch. The limit is written down: a later attempt of the same run gets the same.

What the trainer really trains with, and what torch says at the failure, is appended to FACTS, one
JSON object a line.

Usage: python capped_cuda.py DATA PROJECT FACTS
"""

import json
import os
import sys
from pathlib import Path

import torch
from ultralytics import YOLO

PART = 0.7  # half the batch fits into it, the whole does not

data, project, facts = sys.argv[1:4]
limit_file = Path(facts).with_suffix(".limit")
between = []
growth = []


def tell(**told):
    with open(facts, "a") as file:
        file.write(json.dumps({"pid": os.getpid(), **told}) + "\n")


def limit(trainer):
    """At the start of an epoch: set the limit, once it is known."""
    if not limit_file.exists() and trainer.epoch > trainer.start_epoch:
        limit_file.write_text(str(int(torch.cuda.memory_allocated() + PART * growth[0])))
    if limit_file.exists():
        torch.cuda.empty_cache()  # what is cached already would not be asked for again
        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(int(limit_file.read_text()) / whole)


def begin_batch(_trainer):
    between.append(torch.cuda.memory_allocated())


def measure(_trainer):
    """At the end of an epoch's batches."""
    middle = sorted(between)[len(between) // 2]
    growth.append(torch.cuda.max_memory_allocated() - middle)


def note(trainer):
    tell(
        batch=trainer.batch_size,
        accumulate=trainer.accumulate,
        nbs=trainer.args.nbs,
        decay=max(group["weight_decay"] for group in trainer.optimizer.param_groups),
        start_epoch=trainer.start_epoch,
        save_dir=str(trainer.save_dir),
    )


model = YOLO("yolo11n.yaml")
model.add_callback("on_train_start", note)
model.add_callback("on_train_epoch_start", limit)
model.add_callback("on_train_epoch_end", measure)
model.add_callback("on_train_batch_start", begin_batch)
try:
    model.train(
        data=data,
        project=project,
        name="run",
        epochs=3,
        batch=16,
        imgsz=320,
        seed=0,
        workers=0,
        device=0,
        amp=False,  # its check would load weights that are not part of this
        warmup_epochs=0,
        close_mosaic=0,
        plots=False,
    )
except torch.cuda.OutOfMemoryError as error:
    stats = torch.cuda.memory_stats()
    tell(
        failure=str(error),
        allocated=stats["allocated_bytes.all.current"],
        reserved=stats["reserved_bytes.all.current"],
        ooms=stats["num_ooms"],
    )
    raise
