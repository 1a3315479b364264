"""A user's training program whose memory grows, in one of two ways.

With `leak` something keeps a tensor after each batch, as a callback that collects losses with their
graphs would. With `dense` each epoch has more boxes than the one before, as a data set has that is
sorted, or that grows while it is labelled.

Usage: python growing.py leak|dense DATA PROJECT
"""

import os
import resource
import sys
import time

import numpy as np
import torch
from ultralytics import YOLO

KEPT_FLOATS = 4_000_000  # after each batch: 16 MB
BATCH_SECONDS = 0.3  # so that every epoch has windows, however fast the machine

BOXES = 500  # more in each image with every epoch

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
    if how == "dense":
        for label in trainer.train_loader.dataset.labels:
            first = slice(0, 1)
            boxes = np.repeat(label["bboxes"][first], BOXES * (trainer.epoch + 1), axis=0)
            label["bboxes"] = boxes.astype(np.float32)
            label["cls"] = np.repeat(label["cls"][first], len(boxes), axis=0)


model = YOLO("yolo11n.yaml")
model.add_callback("on_train_epoch_start", before_epoch)
model.add_callback("on_train_batch_end", after_batch)
model.train(
    data=data,
    project=project,
    name="run",
    epochs=8,
    batch=8,
    imgsz=160,
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
