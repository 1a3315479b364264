"""A sitecustomize that writes the size of every batch that a network trains, a line each, to SIZES.

Seen from inside, at the network itself, without any part of yolowatch. A pause after each batch
keeps a tiny training from running away from the test that watches it.
"""

import os
import sys
import time

PAUSE_SECONDS = 0.02
# Where each trainer's network is, and the class of it whose `forward` takes a whole batch.
NETWORKS = {"ultralytics.nn.tasks": "BaseModel", "yolov5.models.yolo": "DetectionModel"}


def trained(model, x):
    """The images of a training batch; None for validation, and for the probe of the strides."""
    if isinstance(x, dict):
        return x["img"]
    outer = type(model).__module__ in NETWORKS and "ultralytics" not in type(model).__module__
    return x if outer and model.training and x.shape[0] > 1 else None


def wrap(model):
    original = model.forward

    def forward(self, x, *args, **kwargs):
        images = trained(self, x)
        if images is not None:
            with open(os.environ["SIZES"], "a") as file:
                file.write(f"{max(images.shape[2:])}\n")
            time.sleep(PAUSE_SECONDS)
        return original(self, x, *args, **kwargs)

    model.forward = forward


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name not in NETWORKS:
            return None
        sys.meta_path.remove(self)
        import importlib.util

        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            wrap(getattr(module, NETWORKS[name]))

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
