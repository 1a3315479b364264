"""A small seeded training that prints the hash of everything it learnt.

Usage: python plain.py DATA PROJECT [KEY=VALUE …]
"""

import hashlib
import json
import sys

import torch
from ultralytics import YOLO

data, project = sys.argv[1:3]
settings = {"epochs": 2, "batch": 8, "imgsz": 64, "seed": 3, "workers": 0, "multi_scale": 0.5}
for word in sys.argv[3:]:
    key, _, value = word.partition("=")
    settings[key] = json.loads(value)
digest = hashlib.sha256()


def hash_state(trainer):
    for part in (trainer.model, trainer.ema.ema):
        for name, tensor in part.state_dict().items():
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    for state in trainer.optimizer.state.values():
        for value in state.values():
            if isinstance(value, torch.Tensor):
                digest.update(value.contiguous().numpy().tobytes())


model = YOLO("yolo11n.yaml")
model.add_callback("on_model_save", hash_state)
model.train(
    data=data, project=project, name="run", device="cpu", plots=False, close_mosaic=0, **settings
)
print("\nLEARNT", digest.hexdigest(), flush=True)
