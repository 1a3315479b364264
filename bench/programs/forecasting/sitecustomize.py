"""Stands in a training that `bench/forecast.py` measures, next on the path after the hook's own.

Counts the training batches, writes down what the kernel says of the data segment before the first
batch and the most that it ever was, independently of the hook, and waits a moment after some
batches, as a training with longer steps would, so that the hook's window is sent. The data segment
is limited far above what is trained, so that it is what counts.
"""

import atexit
import json
import os
import sys
import time

from in_training import CALLBACKS, ULTRALYTICS, after_import, lift

MARKS = tuple(json.loads(os.environ["FORECAST_MARKS"]))
WINDOW_SECONDS = 0.15
told = {"base": None, "peak": 0, "steps": 0, "marks": {}}
kernel = {"mark": 0}


def look():
    """Fold what the kernel says now into the highest data segment so far."""
    with open("/proc/self/status") as file:
        lines = [line.split() for line in file if line.startswith("Vm")]
    said = {words[0][:-1]: int(words[1]) * 1024 for words in lines}
    now = said["VmData"]
    if said["VmPeak"] > kernel["mark"]:
        # Only since the last look: what is mapped beside the data segment changes in between.
        kernel["mark"] = said["VmPeak"]
        now = max(now, said["VmPeak"] - said["VmSize"] + said["VmData"])
    told["peak"] = max(told["peak"], now)
    return said["VmData"]


def heard(event):
    used = look()
    if event == "on_train_batch_start" and told["base"] is None:
        told["base"], told["peak"] = used, used
        shorten_windows()
    elif event == "on_train_batch_end":
        told["steps"] += 1
        if told["steps"] in MARKS:
            time.sleep(WINDOW_SECONDS)
            told["marks"][told["steps"]] = {"at": time.monotonic(), "peak": told["peak"]}


def shorten_windows():
    """A step here takes a hundredth of a real one: so does the hook's window."""
    agent = sys.modules.get("yolowatch_hook.agent")
    if agent is not None:
        agent.CALM_SECONDS = 0.05


def watch(owner, name):
    original = getattr(owner, name)

    def called(self, event, *args, **kwargs):
        original(self, event, *args, **kwargs)
        heard(event)

    setattr(owner, name, called)


def write():
    look()
    with open(os.environ["FORECAST_TOLD"], "w") as file:
        json.dump(told, file)


lift()
after_import([ULTRALYTICS], lambda module: watch(module.BaseTrainer, "run_callbacks"))
after_import(CALLBACKS, lambda module: watch(module.Callbacks, "run"))
atexit.register(write)
