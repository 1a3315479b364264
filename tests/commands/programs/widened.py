"""A training with a range of image sizes, played: it runs out of memory, and obeys an order.

    python widened.py RUN_DIR [--deaf]

The first attempt fails at the largest size. The second trains in the range that it was given, takes
less than the first had made believe, and waits for the order that this deserves. With --deaf it
acknowledges nothing. What it was ordered goes to RUN_DIR/orders.jsonl.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

from yolowatch_hook import wire

MIB = 1 << 20
SIZE, STRIDE, BATCH, WIDEST = 640, 32, 8, 0.5
FIXED = 200 * MIB
TEXT = (
    "CUDA out of memory. Tried to allocate 200.00 MiB. GPU 0 has a total capacity of 1.00 GiB of "
    "which 24.00 MiB is free. Of the allocated memory 900.00 MiB is allocated by PyTorch, and "
    "100.00 MiB is reserved by PyTorch but unallocated."
)
run_dir = Path(sys.argv[1]).resolve()
attempt = int(os.environ["YOLOWATCH_ATTEMPT"])
edits = json.loads(os.environ.get("YOLOWATCH_EDITS", "{}"))
memory = {
    "allocated_bytes": 700 * MIB,
    "peak_bytes": 900 * MIB if attempt == 0 else 790 * MIB,
    "capacity_bytes": 1024 * MIB,
}
connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
connection.connect(os.environ["YOLOWATCH_SOCKET"])


def tell(kind, **fields):
    connection.send(wire.encode(kind, fields))


def describe(ratio):
    tell(
        "run",
        trainer="ultralytics",
        entry="script",
        train_calls=1,
        run_dir=str(run_dir),
        batch=BATCH,
        accumulate=8,
        nbs=64,
        weight_decay=0.0005,
        effective_weight_decay=0.0005,
        epochs=2,
        image_size=SIZE,
        image_size_min=round(SIZE * (1 - ratio)),
        image_size_max=round(SIZE * (1 + ratio)),
        multi_scale=ratio,
        stride=STRIDE,
        device="cuda:0",
        optimizer_state_bytes=10 * MIB,
        optimizer_state_exists=True,
        parameter_bytes=10 * MIB,
        checkpointable=0,
    )


def trained(side, bytes_a_pixel):
    peak = FIXED + bytes_a_pixel * BATCH * side * side
    shape = [BATCH, side, side, 50]
    held = FIXED + (peak - FIXED) * 8 // 10
    items = [["forward", *shape, FIXED, held, False, 0], ["backward", *shape, FIXED, peak, True, 0]]
    tell("footprints", items=items)


def sample(step, side):
    place = {"phase": "forward", "step": step, "batch": BATCH, "height": side, "width": side}
    tell("sample", seconds=1.0, steps=1, **place, **memory)
    return place


run_dir.mkdir(parents=True, exist_ok=True)
tell("hello", pid=os.getpid(), attempt=attempt)
ratio = edits.get("multi_scale", WIDEST)
describe(ratio)
trained(SIZE, 142)
if attempt == 0:
    place = {**sample(3, 960), "phase": "backward", "epoch": 0}
    error = "torch.OutOfMemoryError"
    tell("last_words", exception=error, text=TEXT, train_calls=1, **place, **memory)
    sys.exit(1)
largest = round(SIZE * (1 + ratio))
trained(largest, 110)
sample(20, largest)
connection.settimeout(30)
kind, order = wire.decode(connection.recv(9000))
with (run_dir / "orders.jsonl").open("a") as file:
    file.write(json.dumps([kind, order, largest]) + "\n")
if "--deaf" in sys.argv:
    for step in range(21, 150):
        sample(step, largest)
        time.sleep(0.1)
else:
    tell("ack", id=order["id"], accepted=True)
    describe(order["value"])
    sample(22, largest + STRIDE)
tell("bye", finished=True, epoch=1)
