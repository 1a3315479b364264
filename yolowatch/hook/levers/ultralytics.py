"""Carries out the edits of a plan inside an Ultralytics trainer, before its loaders are built.

Touches, of the first training of the process only: `args.batch`, `args.nbs` and
`args.weight_decay`; `args.resume` where a user's program is resumed (its command line cannot say
so) and `args.save_dir` where a run begins afresh in the directory it already has; and the number
of iterations by which `optimizer=auto` chooses, so that a smaller batch does not choose another
optimizer. Where the checkpoint holds another weight decay than the user's run applied (the
trainer's own retry with a smaller batch changes it), the optimizer's groups get the user's back.

Why here: `check_resume` takes the configuration from the checkpoint and ignores nbs and
weight_decay on the command line; it is the last step before the trainer uses any of them.
"""

import functools
import math

from ..guard import around, entry, faults
from ..place import place
from . import edits


def install(base):
    """Wrap `BaseTrainer` where this attempt has edits; leaves the class alone otherwise."""
    changes = edits.from_environment()
    if not changes:
        return
    original = base.check_resume

    @functools.wraps(original)
    def check_resume(trainer, overrides, *args, **kwargs):
        _before_check(trainer, overrides, changes)
        result = original(trainer, overrides, *args, **kwargs)
        _after_check(trainer, changes)
        return result

    base.check_resume = check_resume
    _keep_optimizer_choice(base, changes)
    if changes.get("effective_weight_decay"):
        decay = functools.partial(_restore_decay, changes["effective_weight_decay"])
        around(base, "resume_training", after=decay)


def _is_ours():
    return faults.armed and place.train_calls <= 1


@entry
def _before_check(trainer, overrides, changes):
    if not _is_ours() or changes["start"] != "resume" or trainer.args.resume:
        return
    # Model.train asks the same dictionary afterwards whether it must build a model of its own.
    overrides["resume"] = trainer.args.resume = changes["checkpoint"]


@entry
def _after_check(trainer, changes):
    if not _is_ours():
        return
    for name in ("batch", "nbs", "weight_decay"):
        if changes.get(name) is not None:
            setattr(trainer.args, name, changes[name])
    if changes["start"] == "afresh":
        trainer.args.save_dir = changes["run_dir"]


@entry
def _restore_decay(wanted, _result, trainer, *_args):
    if not _is_ours():
        return
    groups = trainer.optimizer.param_groups
    applied = max(group["weight_decay"] for group in groups)
    if applied > 0 and not math.isclose(applied, wanted, rel_tol=1e-9):
        for group in groups:
            group["weight_decay"] *= wanted / applied


def _keep_optimizer_choice(base, changes):
    counted_with = changes.get("iterations_batch")
    original = base.build_optimizer
    if not counted_with:
        return

    @functools.wraps(original)
    def build_optimizer(trainer, *args, **kwargs):
        if "iterations" in kwargs and _is_ours():
            kwargs["iterations"] = _iterations(trainer, counted_with) or kwargs["iterations"]
        return original(trainer, *args, **kwargs)

    base.build_optimizer = build_optimizer


@entry
def _iterations(trainer, counted_with):
    return math.ceil(len(trainer.train_loader.dataset) / counted_with) * trainer.epochs
