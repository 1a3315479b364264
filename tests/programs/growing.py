"""A user's training program whose memory grows: after each batch something keeps a tensor, as a
callback that collects losses with their graphs would.

Usage: python growing.py DATA PROJECT
"""

import os
import resource
import sys
import time

import torch
from ultralytics import YOLO

KEPT_FLOATS = 4_000_000  # after each batch: 16 MB
BATCH_SECONDS = 0.3  # so that every epoch has windows, however fast the machine

data, project = sys.argv[1:3]
kept = []

# A limit that does not bind, so that the data segment is what counts.
physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_DATA, (physical * 9 // 10, -1))


def after_batch(_trainer):
    time.sleep(BATCH_SECONDS)
    kept.append(torch.ones(KEPT_FLOATS))


model = YOLO("yolo11n.yaml")
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
