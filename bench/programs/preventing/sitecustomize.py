"""A sitecustomize that gives a training a capacity and sizes that its seed alone decides.

Stands next on the path after the hook's own. CAPACITY limits the data segment, in bytes, from the
start; without one the limit binds nothing, but the data segment is what counts. Sizes come from a
generator of their own, seeded with SIZE_SEED and the attempt, so that the same sizes come whatever
else draws; LARGEST ends the range below what the trainer would draw. VALIDATION_BATCH is what the
user's own program would validate with. What came is appended to FACTS, one JSON object an event:
the sizes of batches, and the most that the process took.
"""

import json
import os
import random
import sys

from in_training import ULTRALYTICS, after_import, lift, peak, set_limit

CAPACITY = int(os.environ.get("CAPACITY", "0"))
LARGEST = int(os.environ.get("LARGEST", "0"))
VALIDATION_BATCH = int(os.environ.get("VALIDATION_BATCH", "0"))
ATTEMPT = os.environ.get("YOLOWATCH_ATTEMPT", "0")


def note(event, **told):
    line = {"event": event, "attempt": int(ATTEMPT), "peak": peak(), **told}
    with open(os.environ["FACTS"], "a") as file:
        file.write(json.dumps(line) + "\n")


class Sizes:
    """Stands in for `random.randrange`, which only the trainers' multi-scale calls by that name."""

    drawn = random.Random(f"{os.environ.get('SIZE_SEED', '0')}/{ATTEMPT}")

    @classmethod
    def randrange(cls, start, stop=None, step=1):
        if stop is None or step != 1:
            return cls.drawn.randrange(start, *(() if stop is None else (stop, step)))
        if LARGEST:
            stop = min(stop, LARGEST + 32)
        return start + int(cls.drawn.random() * (stop - start))


def of_loop(name):
    """The variables of the training loop, which stands further up in the stack."""
    frame = sys._getframe(1)
    while frame.f_code.co_name != name or "nb" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals


def happened(event, size=None):
    if event == "on_train_start":
        note("start")
    elif event == "on_train_batch_end":
        note("batch", size=size())
    elif event == "on_val_start":
        note("validation")
    elif event in ("on_fit_epoch_end", "on_train_end"):
        note(event)


def watch_ultralytics(module):
    base = module.BaseTrainer
    original = base.run_callbacks

    def run_callbacks(trainer, event):
        original(trainer, event)
        happened(event, lambda: of_loop("_do_train")["batch"]["img"].shape[-1])

    base.run_callbacks = run_callbacks
    validate = base.validate

    def validating(trainer):
        happened("on_val_start")
        return validate(trainer)

    base.validate = validating
    if VALIDATION_BATCH:
        from ultralytics.models.yolo.detect import DetectionTrainer

        made = DetectionTrainer.get_dataloader

        def get_dataloader(trainer, path, batch_size=16, rank=0, mode="train"):
            if mode == "val":
                batch_size = VALIDATION_BATCH
            return made(trainer, path, batch_size, rank, mode)

        DetectionTrainer.get_dataloader = get_dataloader


def watch_yolov5(module):
    original = module.Callbacks.run

    def run(callbacks, hook, *args, **kwargs):
        original(callbacks, hook, *args, **kwargs)
        happened(hook, lambda: of_loop("train")["imgs"].shape[-1])

    module.Callbacks.run = run


random.randrange = Sizes.randrange
if CAPACITY:
    set_limit(CAPACITY)
else:
    lift()
after_import([ULTRALYTICS], watch_ultralytics)
after_import(["yolov5.utils.callbacks"], watch_yolov5)
