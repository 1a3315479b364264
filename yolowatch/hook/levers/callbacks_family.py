"""Carries out the edits of a plan in YOLOv5, YOLOv9 and what grew out of them.

Touches, of the first training of the process only: the constant `nbs` in the code of `train()`, in
memory; the attributes `batch_size`, `imgsz`, `freeze`, `workers` and `cache` of its options, and
`close_mosaic` where it is passed; and, where a user's program is not resumed by its command line,
`resume`, `save_dir` and the file of the settings. The weight decay stands in that file, which the
executor has rewritten. Where the validation batch is smaller: the batches of the validation loader.
Where an epoch is to be finished: its number as the first one, no batches in it, and the losses of
its row.

Why so: `nbs` is a local constant, and both the accumulation and its warm-up follow from it. A
resume takes every other value from `opt.yaml`, a fresh start from its command line; giving the same
absolute values again changes nothing.
"""

import functools
import os
import sys

from .. import orders
from ..frames import values_of
from ..guard import around, entry, faults
from ..place import place
from . import (
    checkpointing,
    constants,
    departing,
    edits,
    guarding,
    host_memory,
    multi_scale,
    releasing,
    validation_batch,
)
from .finishing import Unfinished

_changes = {}  # the edits of this attempt; empty in one that changes nothing
_unfinished = Unfinished({})


@entry
def install(train):
    """Called when the function `train` of the training program exists and was not called yet."""
    _changes.update(edits.from_environment())
    if _changes.get("nbs"):
        constants.replace(train, "nbs", _changes["nbs"])
    program = train.__globals__
    if multi_scale.is_needed(program):
        multi_scale.install(program)
    if _changes.get("multi_scale") is not None:
        multi_scale.install(program).ratio = _changes["multi_scale"]
    if _changes.get("amp"):
        _let_amp_pass(program)
    if _changes.get("validation_batch"):
        around(sys.modules[train.__module__], "create_dataloader", after=_loader_made)
    _begin_at(program, Unfinished(_changes))


def _let_amp_pass(program):
    """Let the training program find that mixed precision works."""
    original = program["check_amp"]

    @functools.wraps(original)
    def check_amp(*args, **kwargs):
        return True if _is_ours() else original(*args, **kwargs)

    program["check_amp"] = check_amp


@entry
def set_up(loop):
    """Everything is built, and no epoch has begun: from here on orders are taken."""
    options, loader, size, stride = values_of(loop, "opt", "val_loader", "imgsz", "gs")
    departing.none()
    releasing.none()
    orders.take("release", 1.0, 1.0)
    if not getattr(options, "nosave", False):
        orders.take("leave", 1.0, 1.0)
    if options.multi_scale:
        orders.take("multi_scale", 0.0, multi_scale.WIDEST)
        guarding.begin(loop.f_globals, size, stride)
    batch = getattr(loader, "batch_size", None)
    if batch:
        orders.take("validation_batch", 1.0, float(batch))
    if not _is_ours():
        return
    if _changes.get("checkpointing"):
        checkpointing.install(values_of(loop, "model")[0])
    _keep_mosaic_closed(*values_of(loop, "opt", "epochs", "start_epoch"))


def _keep_mosaic_closed(options, epochs, start_epoch):
    """YOLOv9 closes mosaic in one epoch, not from it on: a resume after that would open it again.

    It is closed in the first epoch then.
    """
    last_epochs = getattr(options, "close_mosaic", None)
    if last_epochs and start_epoch > epochs - last_epochs:
        options.close_mosaic = epochs - start_epoch


def live(loop):
    """The live changes, each a function of its value."""
    return {
        "multi_scale": functools.partial(_order_multi_scale, loop.f_globals),
        "validation_batch": functools.partial(_order_validation_batch, loop),
        "leave": departing.order,
        "release": releasing.order,
    }


def _order_multi_scale(program, ratio):
    guarding.end()
    multi_scale.set_ratio(program, ratio)


def _order_validation_batch(loop, batch):
    validation_batch.shrink(values_of(loop, "val_loader")[0], int(batch))


@entry
def _loader_made(result, *_args, **kwargs):
    """Only the loader for validation is padded."""
    if _is_ours() and kwargs.get("pad") == 0.5:
        validation_batch.shrink(result[0], _changes["validation_batch"])


def _frozen(users):
    """What the user froze, and the first layers; one number alone stands for so many of them."""
    named = range(users[0]) if len(users) == 1 else users
    return sorted({*named, *range(_changes["freeze"])})


def _begin_at(program, unfinished):
    """The epoch that is to be finished is the first one, though it is trained already."""
    global _unfinished
    original = program.get("smart_resume")
    if unfinished.epoch is None or original is None:
        return
    _unfinished = unfinished

    @functools.wraps(original)
    def smart_resume(ckpt, *args, **kwargs):
        best_fitness, start_epoch, epochs = original(ckpt, *args, **kwargs)
        if _is_ours() and start_epoch == unfinished.epoch + 1:
            start_epoch = unfinished.epoch
        return best_fitness, start_epoch, epochs

    program["smart_resume"] = smart_resume


def epoch_begins(loop):
    """An epoch that is only to be finished has no batches."""
    if _unfinished.epoch is not None:
        _unfinished.begin(*values_of(loop, "epoch", "train_loader"))


def epoch_trained(loop):
    """Its row shows the losses with which it was trained."""
    if _unfinished.end():
        means = values_of(loop, "mloss")[0]
        if len(_unfinished.losses) == len(means):
            means.copy_(sys.modules["torch"].tensor(_unfinished.losses))


def _is_ours():
    return bool(_changes) and faults.armed and place.train_calls in (0, 1)


@entry
def options_parsed(options, *_args, **_kwargs):
    """The program has its options: a resume begins by saying so."""
    if _is_ours() and _changes["start"] == "resume" and not options.resume:
        options.resume = _changes["checkpoint"]


@entry
def before_training(options):
    """`train()` is about to begin; returns the settings it is to take, None for those it has."""
    orders.take_none()  # what waits was meant for an earlier one
    if not _is_ours() or bool(options.resume) != (_changes["start"] == "resume"):
        return None  # not the run that is meant: what it describes will say so
    if _changes.get("batch") is not None:
        options.batch_size = _changes["batch"]
    host_memory.change_options(options, _changes)
    if _changes.get("image_size"):
        options.imgsz = _changes["image_size"]
    if _changes.get("freeze"):
        options.freeze = _frozen(options.freeze)
    if _changes["start"] != "afresh":
        return None
    options.save_dir = _changes["run_dir"]
    settings = os.path.join(_changes["run_dir"], "hyp.yaml")
    return settings if _changes.get("weight_decay") is not None else None
