"""Carries out the edits of a plan in YOLOv5, YOLOv9 and what grew out of them.

Touches, of the first training of the process only: the constant `nbs` in the code of `train()`, in
memory; the attribute `batch_size` of its options; and, where a user's program is not resumed by its
command line, `resume`, `save_dir` and the file of the settings. The weight decay stands in that
file, which the executor has rewritten.

Why so: `nbs` is a local constant, and both the accumulation and its warm-up follow from it. A
resume takes every other value from `opt.yaml`, a fresh start from its command line; giving the same
absolute values again changes nothing.
"""

import os

from ..guard import entry, faults
from ..place import place
from . import constants, edits

_changes = {}  # the edits of this attempt; empty in one that changes nothing


@entry
def install(train):
    """Called when the function `train` of the training program exists and was not called yet."""
    _changes.update(edits.from_environment())
    if _changes.get("nbs"):
        constants.replace(train, "nbs", _changes["nbs"])


def _is_ours():
    return bool(_changes) and faults.armed and place.train_calls <= 1


@entry
def options_parsed(options, *_args, **_kwargs):
    """The program has its options: a resume begins by saying so."""
    if _is_ours() and _changes["start"] == "resume" and not options.resume:
        options.resume = _changes["checkpoint"]


@entry
def before_training(options):
    """`train()` is about to begin; returns the settings it is to take, None for those it has."""
    if not _is_ours() or bool(options.resume) != (_changes["start"] == "resume"):
        return None  # not the run that is meant: what it describes will say so
    if _changes.get("batch") is not None:
        options.batch_size = _changes["batch"]
    if _changes["start"] != "afresh":
        return None
    options.save_dir = _changes["run_dir"]
    settings = os.path.join(_changes["run_dir"], "hyp.yaml")
    return settings if _changes.get("weight_decay") is not None else None
