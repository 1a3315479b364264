"""Run by the trainer's Python: real checkpoints of a small real model, written to the folder given.

last.pt       as the trainer saves it after an epoch
finished.pt   the same after the trainer's own `strip_optimizer`
protocol4.pt  with another pickle protocol
"""

import shutil
import sys
from copy import deepcopy
from pathlib import Path

import torch
from ultralytics import YOLO
from ultralytics.utils.torch_utils import strip_optimizer

folder = Path(sys.argv[1])
model = YOLO("yolo11n.yaml").model
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
for parameter in model.parameters():
    parameter.grad = torch.zeros_like(parameter)
optimizer.step()
checkpoint = {
    "epoch": 3,
    "best_fitness": 0.25,
    "model": None,
    "ema": deepcopy(model).half(),
    "updates": 12,
    "optimizer": optimizer.state_dict(),
    "scaler": {},
    "train_args": {"batch": 16, "epochs": 10},
    "date": "2026-11-21",
}
torch.save(checkpoint, folder / "last.pt")
torch.save(checkpoint, folder / "protocol4.pt", pickle_protocol=4)
shutil.copy(folder / "last.pt", folder / "finished.pt")
strip_optimizer(folder / "finished.pt")
