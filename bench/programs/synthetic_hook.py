"""A training without torch: the real hook, its agent and its socket, with made-up statistics.

    python synthetic_hook.py NUMBER RUN_DIR SECONDS

Started with the staged hook on PYTHONPATH. It is at 95 % of its capacity, so that the agent sends
ten windows a second, and trains twenty batches a second. At its end it prints what its agent sent
and lost, in JSON.
"""

import json
import sys
import time

from yolowatch_hook import footprint
from yolowatch_hook.agent import agent
from yolowatch_hook.place import place

GIB = 1 << 30
STEP_SECONDS = 0.05
number, run_dir, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])


class Synthetic:
    """An allocator that says what it is told."""

    name = "cpu"

    def __init__(self):
        self.now = self.highest = 19 * GIB

    def used(self):
        return self.now

    def peak(self):
        return self.highest

    def read(self):
        return {
            "allocated_bytes": self.now,
            "reserved_bytes": self.now,
            "inactive_split_bytes": 1 << 20,
            "peak_bytes": self.highest,
            "capacity_bytes": 20 * GIB,
            "retries": 0,
            "ooms": 0,
        }


sent = {"messages": 0}
tell = agent.tell


def counted(kind, **fields):
    sent["messages"] += 1
    return tell(kind, **fields)


agent.tell = counted
agent._allocator = Synthetic()
agent.footprints = footprint.Footprints(agent._allocator)
place.train_calls = 1
agent.start("cpu")
agent.tell(
    "run",
    trainer="yolov5", entry="command", train_calls=1, run_dir=run_dir, model="yolov5s.yaml",
    data="coco.yaml", task="detect", batch=16, accumulate=4, nbs=64, weight_decay=0.0005,
    effective_weight_decay=0.0005, epochs=100, start_epoch=0, image_size=640, image_size_min=640,
    image_size_max=640, stride=32, precision="fp16", optimizer="SGD", device="cpu", workers=8,
    optimizer_state_bytes=GIB, optimizer_state_exists=True, parameter_bytes=GIB,
    train_images=100_000, validation_batch=32, resumed=False, checkpointable=8, checkpointed=0,
)  # fmt: skip
end = time.monotonic() + seconds
while time.monotonic() < end:
    place.epoch, place.phase = place.step // 400, "forward"
    place.batch, place.height, place.width, place.accumulate = 16, 640, 640, 4
    agent.footprints.begin("backward", 16, 640, 640, 90 + place.step % 50)
    time.sleep(STEP_SECONDS / 2)
    agent.footprints.forward_end()
    place.phase = "backward"
    time.sleep(STEP_SECONDS / 2)
    agent.footprints.end()
    place.step += 1
print(json.dumps({"number": number, "sent": sent["messages"], "dropped": agent.dropped}))
