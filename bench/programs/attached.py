"""A seeded training with workers that load images; prints what it learnt and how long batches took.

Usage: python attached.py DATA PROJECT EPOCHS
"""

import hashlib
import itertools
import json
import sys
import time

import torch
from ultralytics import YOLO

data, project, epochs = sys.argv[1:4]
torch.set_num_threads(1)
losses = hashlib.sha256()
ends = []


def batch_ended(trainer):
    losses.update(trainer.loss.detach().numpy().tobytes())
    ends.append(time.perf_counter())


model = YOLO("yolo11n.yaml")
model.add_callback("on_train_batch_end", batch_ended)
model.train(
    data=data,
    project=project,
    name="run",
    device="cpu",
    epochs=int(epochs),
    batch=8,
    imgsz=64,
    seed=3,
    workers=2,
    plots=False,
    val=False,
    save=False,
)
# Between epochs the trainer does other things: batches are compared with batches.
taken = [b - a for a, b in itertools.pairwise(ends)]
print("\nTOLD", json.dumps({"losses": losses.hexdigest(), "batch_seconds": taken}), flush=True)
