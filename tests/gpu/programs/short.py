"""One short training on a GPU, which may have little memory for its validation.

ROOM, if set, is what each validation from the second epoch on may add to what is in use, in MiB.
At the end one JSON object says what the training took.

Usage: python short.py DATA PROJECT EPOCHS
"""

import json
import os
import sys

import torch
from ultralytics import YOLO

data, project, epochs = sys.argv[1:4]
room = int(os.environ.get("ROOM", "0")) << 20
epoch = -1


def cap(_validator):
    if room and epoch >= 1:
        torch.cuda.empty_cache()
        whole = torch.cuda.get_device_properties(0).total_memory
        allowed = torch.cuda.memory_allocated() + room
        torch.cuda.set_per_process_memory_fraction(allowed / whole)


def lift(_validator):
    torch.cuda.set_per_process_memory_fraction(1.0)


def begin(trainer):
    global epoch
    epoch = trainer.epoch


model = YOLO("yolo11n.yaml")
model.add_callback("on_train_epoch_start", begin)
model.add_callback("on_val_start", cap)
model.add_callback("on_val_end", lift)
model.train(
    data=data,
    project=project,
    name="run",
    epochs=int(epochs),
    batch=16,
    imgsz=320,
    seed=0,
    workers=0,
    device=0,
    amp=False,
    warmup_epochs=0,
    close_mosaic=0,
    plots=False,
)
segments = torch.cuda.memory_snapshot()
print(
    json.dumps(
        {
            "peak": torch.cuda.max_memory_allocated(),
            "expandable": any(segment.get("is_expandable") for segment in segments),
        }
    )
)
