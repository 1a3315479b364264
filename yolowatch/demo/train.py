"""The demonstration's training: a small Ultralytics detector with a wide multi-scale range.

A program like any user's: it knows nothing of yolowatch. On a GPU, `--memory-fraction` makes a
small one of a large one; on the CPU the limit is a resource limit that the process inherits.
"""

import argparse
import os
import sys

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", required=True)
parser.add_argument("--project", required=True)
parser.add_argument("--name", required=True)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--imgsz", type=int, default=160)
parser.add_argument("--model", default="yolo11n.yaml")
parser.add_argument("--memory-fraction", type=float, help="of the GPU's memory")
parser.add_argument("--log", help="write the output there instead of to the terminal")
options = parser.parse_args()

if options.log:
    log = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)

import torch  # noqa: E402 - after the output is where it belongs
from ultralytics import YOLO  # noqa: E402

gpu = torch.cuda.is_available()
if gpu and options.memory_fraction:
    torch.cuda.set_per_process_memory_fraction(options.memory_fraction)

YOLO(options.model).train(
    data=options.data,
    project=options.project,
    name=options.name,
    seed=options.seed,
    epochs=options.epochs,
    batch=options.batch,
    imgsz=options.imgsz,
    multi_scale=0.5,
    close_mosaic=0,
    workers=0,
    device=0 if gpu else "cpu",
    amp=False,  # its check would load weights that are not part of this
    plots=False,
    exist_ok=False,
)
sys.exit(0)
