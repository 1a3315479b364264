"""A sitecustomize that makes any training run out of memory at a chosen place, for real.

FAIL_AT names the place: forward, optimizer, validation, save, or `final`, the validation after all
epochs; FAIL_EPOCH the epoch (default 1), and FAIL_BATCH, for `forward`, the batch in it (default
1), which gets PART of what one takes. A limit on the data segment is set there, so that the
allocator itself refuses. It stays for later attempts, at the same place; only `save` fails once.
ROOM is what is left for validation, in MiB. Before a save and before the optimizer's step the
heap's large holes are taken: copies of layers, and their state, would find room there.

What the training had learnt is appended to FACTS, one JSON object an event: hashes of the model, of
the EMA and of the optimizer's state, in the half precision in which trainers save.
"""

import gc
import hashlib
import json
import os
import sys
from pathlib import Path

from in_training import CALLBACKS, ULTRALYTICS, after_import, data, lift, peak, set_limit

PLACE = os.environ.get("FAIL_AT", "")
EPOCH = int(os.environ.get("FAIL_EPOCH", "1"))
BATCH = int(os.environ.get("FAIL_BATCH", "1"))
ROOM = int(os.environ.get("ROOM", "80")) << 20
PART = float(os.environ.get("PART", "0.5"))
HELD_BYTES = 16 << 20
LARGE_BYTES = 1 << 17  # a hole, and a tensor that fits into no smaller one
LIMIT = Path(os.environ["LIMIT_FILE"])


def once(limit_bytes):
    if not LIMIT.exists():
        LIMIT.write_text("once")
        set_limit(limit_bytes)


def kept(limit_bytes):
    if not LIMIT.exists():
        LIMIT.write_text(str(int(limit_bytes)))
    set_limit(int(LIMIT.read_text()))


def digest(tensors):
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().cpu().half().numpy().tobytes())
    return found.hexdigest()[:16]


def told(event, live):
    model, ema, optimizer = live["model"], live["ema"], live["optimizer"]
    floating = [t for t in ema.ema.state_dict().values() if t.is_floating_point()]
    states = [
        state[key]
        for group in optimizer.param_groups
        for state in (optimizer.state.get(p, {}) for p in group["params"])
        for key in sorted(state)
        if hasattr(state[key], "is_floating_point")
    ]
    line = {
        "event": event,
        "pid": os.getpid(),
        "epoch": live["epoch"],
        "batches": Seen.batches,
        "model": digest(model.parameters()),
        "ema": digest(floating),
        "optimizer": digest(states),
        "validation_batch": live["validation_batch"],
        "batch": live["batch"],
        "start_epoch": live["start_epoch"],
        "mosaic": getattr(live["images"], "mosaic", None),
    }
    with open(os.environ["FACTS"], "a") as file:
        file.write(json.dumps(line) + "\n")


class Seen:
    held = holes = images = None
    batches = in_epoch = peak = 0
    epoch = None
    saved = False
    between = ()


def happened(event, live):
    """One event of the training loop; `live()` are its variables."""
    if event == "on_train_start":
        Seen.images = live()["batch"]
        told(event, live())
    elif event == "on_train_epoch_start":
        Seen.epoch, Seen.in_epoch, Seen.saved = live()["epoch"], 0, False
    elif event == "on_train_batch_start":
        Seen.between += (data(),)
        Seen.in_epoch += 1
        if PLACE == "forward" and (LIMIT.exists() or (Seen.epoch, Seen.in_epoch) >= (EPOCH, BATCH)):
            middle = sorted(Seen.between)[len(Seen.between) // 2]
            kept(middle + (Seen.peak - middle) * PART)
    elif event == "on_train_batch_end":
        if PLACE == "optimizer":
            Seen.held = Seen.holes = None
            lift()
        Seen.batches += 1
        Seen.peak = max(Seen.peak, peak())
        told(event, live())
    elif event == "on_train_epoch_end":
        lift()
    elif event == "on_val_start" and Seen.epoch is not None:
        told(event, live())
        if PLACE == "final" and Seen.saved:
            kept(data() + ROOM)
        if PLACE == "validation" and (LIMIT.exists() or Seen.epoch >= EPOCH):
            LIMIT.touch()
            set_limit(data() + ROOM)
    elif event == "on_model_save":
        Seen.saved = True
    elif event == "validated" and Seen.epoch is not None:
        lift()
        if PLACE == "save" and Seen.epoch >= EPOCH and not LIMIT.exists():
            # As much is held as a batch took: what fails here fits where a smaller batch is. What
            # validation left would be freed in the save, and leave room for it.
            gc.collect()
            Seen.held = held(Seen.peak - data())
            once(data() + (1 << 16))
            Seen.holes = list(filling())


def filling():
    """Blocks of what the heap still has in large pieces; smaller ones are left."""
    size = 1 << 22
    while size >= LARGE_BYTES:
        try:
            yield held(size)
        except RuntimeError:
            size //= 2


def held(count):
    import torch

    return torch.empty(max(count, 0), dtype=torch.uint8)


def before_step(optimizer, *_arguments):
    """What a batch holds until the step's end is there beside half of the optimizer's new state."""
    if PLACE == "optimizer" and (LIMIT.exists() or Seen.epoch == EPOCH) and not optimizer.state:
        sizes = [p.numel() * p.element_size() for g in optimizer.param_groups for p in g["params"]]
        Seen.held = held(Seen.images * HELD_BYTES)
        if not LIMIT.exists():  # later there is room for what a larger batch held
            set_limit(data())
            Seen.holes = list(filling())
        kept(data() + sum(size for size in sizes if size >= LARGE_BYTES) // 2)


def watch(module):
    if module.__name__ == ULTRALYTICS:
        watch_trainer(module)
    elif hasattr(module, "Callbacks"):
        watch_callbacks(module.Callbacks)
    from torch.optim import optimizer

    optimizer.register_optimizer_step_pre_hook(before_step)


def watch_trainer(module):
    from ultralytics.engine import validator

    base = module.BaseTrainer
    original, of_validator = base.run_callbacks, validator.BaseValidator.run_callbacks
    current = []

    def live():
        trainer = current[0]
        return {
            "model": trainer.model,
            "ema": trainer.ema,
            "optimizer": trainer.optimizer,
            "epoch": getattr(trainer, "epoch", None),
            "start_epoch": trainer.start_epoch,
            "batch": trainer.batch_size,
            "validation_batch": trainer.test_loader.batch_size,
            "images": trainer.train_loader.dataset,
        }

    def run_callbacks(trainer, event):
        current[:] = [trainer]
        original(trainer, event)
        happened(event, live)

    def run_validator_callbacks(self, event):
        of_validator(self, event)
        if self.training or (PLACE == "final" and current):
            happened({"on_val_end": "validated"}.get(event, event), live)

    base.run_callbacks = run_callbacks
    validator.BaseValidator.run_callbacks = run_validator_callbacks


def watch_callbacks(callbacks):
    original = callbacks.run

    def run(self, hook, *args, **kwargs):
        original(self, hook, *args, **kwargs)
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_name != "train":
            frame = frame.f_back

        def live():
            found = frame.f_locals
            names = ("model", "ema", "optimizer", "start_epoch")
            return {
                **{name: found[name] for name in names},
                "epoch": found.get("epoch"),
                "batch": found["batch_size"],
                "validation_batch": found["val_loader"].batch_size,
                "images": found["train_loader"].dataset,
            }

        if frame is not None:
            happened({"on_fit_epoch_end": "validated"}.get(hook, hook), live)

    callbacks.run = run


lift()
after_import([ULTRALYTICS, "ultralytics.utils.callbacks", *CALLBACKS], watch)
