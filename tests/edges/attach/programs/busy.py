"""A Python that works: at each line on standard input it says what stands in it, until "end"."""

import json
import os
import select
import sys
import threading

original = sys.excepthook, threading.excepthook, list(sys.meta_path), list(sys.path)
digest, turns, line = 7, 0, ""


def work():
    global digest, turns
    table = {}
    for number in range(500):
        digest = (digest * 6364136223846793005 + number) % 2**64
        table[number % 7] = [digest] * 3
    turns += 1


def state():
    return {
        "modules": [name for name in sys.modules if name.startswith("yolowatch")],
        "threads": [each.name for each in threading.enumerate()],
        "kernel_threads": len(os.listdir("/proc/self/task")),
        "as_before": (sys.excepthook, threading.excepthook, sys.meta_path, sys.path)
        == (original[0], original[1], original[2], original[3]),
        "main": sorted(vars(sys.modules["__main__"])),
        "turns": turns,
        "came": getattr(sys, "came", False),
    }


print(json.dumps(state()), flush=True)
while True:
    work()
    if select.select([sys.stdin], [], [], 0)[0]:
        line = sys.stdin.readline().strip()
        if line in ("end", ""):
            break
        print(json.dumps(state()), flush=True)
expected = 7
for _ in range(turns):
    for number in range(500):
        expected = (expected * 6364136223846793005 + number) % 2**64
print(json.dumps({"unharmed": expected == digest}), flush=True)
