"""A sitecustomize that limits the data segment of a YOLOv5 or YOLOv9 training, for real.

Stands next on the path after the hook's own. The limit is what was in use between batches plus PART
of what a batch took, written to LIMIT_FILE for later attempts; it holds from the second epoch on,
with FROM_EPOCH from a later one, or with AFTER_BATCHES from that batch of the first; with WHEN not
before that file exists. What each process really trains with, read from the loop's own variables,
is appended to FACTS, one JSON object a process.
"""

import json
import os
import sys
from pathlib import Path

from in_training import CALLBACKS, after_import, data, lift, peak, set_limit

PART = float(os.environ.get("PART", "0.5"))
AFTER_BATCHES = int(os.environ.get("AFTER_BATCHES", "0"))
FROM_EPOCH = int(os.environ.get("FROM_EPOCH", "1"))
WHEN = Path(os.environ.get("WHEN", "/"))


def note(variables):
    opt, optimizer = variables["opt"], variables["optimizer"]
    told = {
        "pid": os.getpid(),
        "batch": variables["batch_size"],
        "loaded": variables["train_loader"].batch_size,
        "accumulate": max(round(variables["nbs"] / variables["batch_size"]), 1),
        "nbs": variables["nbs"],
        "configured_decay": variables["hyp"]["weight_decay"],  # scaled by now
        "decay": max(group["weight_decay"] for group in optimizer.param_groups),
        "start_epoch": variables["start_epoch"],
        "save_dir": os.path.abspath(opt.save_dir),
        "resume": bool(opt.resume),
    }
    with open(os.environ["FACTS"], "a") as file:
        file.write(json.dumps(told) + "\n")


def watch(module):
    original = module.Callbacks.run
    file = Path(os.environ["LIMIT_FILE"])
    between = []
    peaks = []

    def limit():
        if between and not file.exists():
            growth = peaks[-1] - sorted(between)[len(between) // 2]
            file.write_text(str(int(data() + PART * growth)))
        if file.exists():
            set_limit(int(file.read_text()))

    def run(self, hook, *args, **kwargs):
        original(self, hook, *args, **kwargs)
        if hook == "on_train_start":
            note(sys._getframe(1).f_locals)
        elif hook == "on_train_batch_start":
            between.append(data())
            if len(between) == AFTER_BATCHES + 1 and AFTER_BATCHES:
                limit()
        elif hook == "on_train_batch_end":
            peaks.append(peak())
        elif hook == "on_train_epoch_start" and (
            file.exists()
            or (between and sys._getframe(1).f_locals["epoch"] >= FROM_EPOCH and WHEN.exists())
        ):
            limit()

    module.Callbacks.run = run


lift()
after_import(CALLBACKS, watch)
