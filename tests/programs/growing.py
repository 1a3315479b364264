"""A user's training program whose memory grows from epoch to epoch, or does not.

Usage: python growing.py HOW DATA PROJECT

HOW is `leak`: after each batch something keeps a tensor, as a callback that collects losses with
their graphs would; `dense`: with every epoch each image has more labelled boxes, and nothing is
kept; `steady`: neither.
"""

import os
import resource
import sys
import time

import torch
from ultralytics import YOLO

KEPT_FLOATS = 4_000_000  # after each batch: 16 MB
MORE_BOXES = 300  # an image, with each epoch
BATCH_SECONDS = 0.3  # so that every epoch has windows, however fast the machine

how, data, project = sys.argv[1:4]
kept = []

# A limit that does not bind, so that the data segment is what counts.
physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_DATA, (physical * 9 // 10, -1))


def after_batch(_trainer):
    time.sleep(BATCH_SECONDS)
    if how == "leak":
        kept.append(torch.ones(KEPT_FLOATS))


def before_epoch(trainer):
    if how != "dense":
        return
    for label in trainer.train_loader.dataset.labels:
        once = label.setdefault("once", (label["cls"], label["bboxes"]))
        times = 1 + MORE_BOXES // len(once[0]) * trainer.epoch
        label["cls"], label["bboxes"] = (each.repeat(times, axis=0) for each in once)
        label["segments"] = []


model = YOLO("yolo11n.yaml")
model.add_callback("on_train_epoch_start", before_epoch)
model.add_callback("on_train_batch_end", after_batch)
model.train(
    data=data,
    project=project,
    name="run",
    epochs=8,
    batch=8,
    imgsz=96,
    seed=0,
    workers=0,
    device="cpu",
    plots=False,
    val=False,
    mosaic=0.0,
    close_mosaic=0,
    warmup_epochs=0,
    save=False,
)
