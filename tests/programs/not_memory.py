"""User programs that fail without any memory failure; the argument names how.

Usage: python not_memory.py HOW DATA PROJECT
"""

import os
import sys

from ultralytics import YOLO

how, data, project = sys.argv[1:4]
if how == "prints":
    print("RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB", file=sys.stderr)
    sys.exit(3)
if how == "no-data":
    data = "/nowhere/data.yaml"


def fail(trainer):
    if trainer.epoch != 1:
        return
    if how == "error":
        raise ZeroDivisionError("a mistake of the user's")
    if how == "says-memory":
        raise RuntimeError("my cache is out of memory")
    if how == "device-assert":
        raise RuntimeError(
            "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously "
            "reported at some other API call, so the stacktrace below might be incorrect."
        )
    if how == "exit":
        sys.exit(5)
    if how == "abort":
        os.abort()
    print("WAITING", flush=True)


model = YOLO("yolo11n.yaml")
model.add_callback("on_train_batch_start", fail)
epochs = 500 if how == "long" else 3
model.train(
    data=data,
    project=project,
    name="run",
    epochs=epochs,
    batch=8,
    imgsz=64,
    device="cpu",
    workers=0,
    plots=False,
    val=False,
)
