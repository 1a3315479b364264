"""A sitecustomize that writes the size of every batch that a network trains, a line each, to SIZES.

Seen from inside, at the network itself, without any part of yolowatch. A pause after each batch
keeps a tiny training from running away from the test that watches it.
"""

import os
import time

from in_training import after_import

PAUSE_SECONDS = 0.02
# Where each trainer's network is, and the class of it whose `forward` takes a whole batch.
NETWORKS = {"ultralytics.nn.tasks": "BaseModel", "yolov5.models.yolo": "DetectionModel"}


def trained(model, x):
    """The images of a training batch; None for validation, and for the probe of the strides."""
    if isinstance(x, dict):
        return x["img"]
    outer = type(model).__module__ in NETWORKS and "ultralytics" not in type(model).__module__
    return x if outer and model.training and x.shape[0] > 1 else None


def watch(module):
    model = getattr(module, NETWORKS[module.__name__])
    original = model.forward

    def forward(self, x, *args, **kwargs):
        images = trained(self, x)
        if images is not None:
            with open(os.environ["SIZES"], "a") as file:
                file.write(f"{max(images.shape[2:])}\n")
            time.sleep(PAUSE_SECONDS)
        return original(self, x, *args, **kwargs)

    model.forward = forward


after_import(NETWORKS, watch)
