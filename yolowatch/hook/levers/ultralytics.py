"""Carries out the edits of a plan inside an Ultralytics trainer, before its loaders are built.

Touches, of the first training of the process only: `args.batch`, `args.nbs` and
`args.weight_decay`; `args.resume` where a user's program is resumed (its command line cannot say
so) and `args.save_dir` where a run begins afresh in the directory it already has; and the number
of iterations by which `optimizer=auto` chooses, so that a smaller batch does not choose another
optimizer. Where the checkpoint holds another weight decay than the user's run applied (the
trainer's own retry with a smaller batch changes it), the optimizer's groups get the user's back.
Where a plan says so: `args.amp`, `args.multi_scale`, `args.workers`, `args.cache`, the forward of
the model's big blocks, pinned memory, the batches of the validation loader, and what
`opt_in_ultralytics` touches. Where an epoch is to be finished: its number as the first one, no
batches in it, and the figures of its row. Where a run begins afresh and spawns ranks: that the
trainer first removes the run's directory, in which the vault lies.

Why here: `check_resume` takes the configuration from the checkpoint and ignores nbs and
weight_decay on the command line; it is the last step before the trainer uses any of them.
"""

import functools
import math
import sys

from .. import orders
from ..guard import around, entry, faults
from ..place import place
from . import (
    checkpointing,
    departing,
    edits,
    guarding,
    host_memory,
    multi_scale,
    opt_in_ultralytics,
    releasing,
    validation_batch,
)
from .finishing import Unfinished


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
    if changes.get("validation_batch"):
        around(base, "_setup_train", before=functools.partial(_watch_loaders, changes))
    if changes.get("checkpointing"):
        around(base, "_setup_train", after=_checkpoint)
    if changes.get("pin_memory") is False:
        from ultralytics.data import build

        host_memory.unpin(build.InfiniteDataLoader, _is_ours)
    _keep_optimizer_choice(base, changes)
    opt_in_ultralytics.install(base, changes, _is_ours)
    _begin_at(base, Unfinished(changes))
    if changes["start"] == "afresh":
        _keep_directory(vars(sys.modules[base.__module__]))
    if changes.get("effective_weight_decay"):
        decay = functools.partial(_restore_decay, changes["effective_weight_decay"])
        around(base, "resume_training", after=decay)


def _is_ours():
    return faults.armed and place.train_calls in (0, 1)


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
    if changes.get("amp"):
        # Releases before 8.4 know only on and off.
        trainer.args.amp = "bf16" if changes["amp"] == "bf16" else True
    if changes.get("multi_scale") is not None:
        set_multi_scale(trainer, changes["multi_scale"])
    opt_in_ultralytics.set_arguments(trainer.args, changes)
    if changes["start"] == "afresh":
        trainer.args.save_dir = changes["run_dir"]
    host_memory.change_options(trainer.args, changes)


def _keep_directory(program):
    """Who spawns ranks removes the directory of a run that is no resume; it is to begin in it."""
    original = program.get("generate_ddp_command")
    if original is None:
        return

    @functools.wraps(original)
    def generate_ddp_command(*args, **kwargs):
        trainer = (*args, *kwargs.values())[-1]  # 8.2 names the number of ranks first
        resumed = trainer.resume
        trainer.resume = resumed or _is_ours()
        try:
            return original(*args, **kwargs)
        finally:
            trainer.resume = resumed

    program["generate_ddp_command"] = generate_ddp_command


def set_multi_scale(trainer, ratio):
    """Narrow the range of sizes to 1 - ratio to 1 + ratio; the trainer reads it for each batch."""
    if isinstance(trainer.args.multi_scale, bool):  # releases before 8.4 draw from a fixed range
        drawing = sys.modules["ultralytics.models.yolo.detect.train"]
        multi_scale.install(vars(drawing)).ratio = ratio
        trainer.args.multi_scale = ratio > 0
    else:
        trainer.args.multi_scale = ratio


def take_orders(trainer):
    """A training is set up: which live changes it takes."""
    departing.none()
    releasing.none()
    orders.take("leave", 1.0, 1.0)
    orders.take("release", 1.0, 1.0)
    if trainer.args.task != "classify":  # which draws no sizes
        orders.take("multi_scale", 0.0, multi_scale.WIDEST_ORDER)
        drawing = sys.modules.get("ultralytics.models.yolo.detect.train")
        if drawing is not None and trainer.args.multi_scale:
            guarding.begin(vars(drawing), _size(trainer.args), trainer.stride)
    batch = getattr(trainer.test_loader, "batch_size", None)
    if batch:
        orders.take("validation_batch", 1.0, float(batch))


def _size(args):
    return args.imgsz if isinstance(args.imgsz, int) else max(args.imgsz)


def live(trainer):
    """The live changes, each a function of its value."""
    return {
        "multi_scale": functools.partial(_order_multi_scale, trainer),
        "validation_batch": functools.partial(_order_validation_batch, trainer),
        "leave": functools.partial(_order_leave, trainer),
        "release": releasing.order,
    }


def _order_multi_scale(trainer, ratio):
    guarding.end()
    set_multi_scale(trainer, ratio)


def _order_validation_batch(trainer, batch):
    validation_batch.shrink(trainer.test_loader, int(batch))


def _order_leave(trainer, _value):
    trainer.args.save = True  # one that saves nothing saves what it is to go on from
    departing.order()


@entry
def _checkpoint(_result, trainer, *_args):
    if _is_ours():
        checkpointing.install(trainer.model)


@entry
def _watch_loaders(changes, trainer, *_args):
    """Each task's trainer has a `get_dataloader` of its own: it is known when there is one."""
    if not _is_ours():
        return
    owner = next(each for each in type(trainer).__mro__ if "get_dataloader" in vars(each))
    batch = changes["validation_batch"]

    def shrink(loader, _trainer, *args, **kwargs):
        if kwargs.get("mode", args[3] if len(args) > 3 else None) == "val" and _is_ours():
            validation_batch.shrink(loader, batch)

    around(owner, "get_dataloader", after=entry(shrink))


_unfinished = Unfinished({})


def _begin_at(base, unfinished):
    """The epoch that is to be finished is the first one, though it is trained already."""
    global _unfinished
    if unfinished.epoch is None:
        return
    _unfinished = unfinished
    original = base.resume_training

    @functools.wraps(original)
    def resume_training(trainer, ckpt, *args, **kwargs):
        mine = _is_ours() and ckpt is not None and ckpt.get("epoch") == unfinished.epoch
        if not mine:
            return original(trainer, ckpt, *args, **kwargs)
        # The trainer asks for 0 < start < epochs: that the first epoch can be finished as well,
        # there is one more for as long as it asks.
        first = unfinished.epoch == 0
        trainer.epochs += first
        ckpt["epoch"] -= not first
        result = original(trainer, ckpt, *args, **kwargs)
        trainer.epochs -= first
        trainer.start_epoch = unfinished.epoch
        criterion = getattr(trainer.model, "criterion", None)
        if first and hasattr(criterion, "updates"):
            criterion.updates -= 2
            criterion.update()
        return result

    base.resume_training = resume_training


def epoch_begins(trainer):
    """An epoch that is only to be finished has no batches."""
    if _unfinished.begin(trainer.epoch, trainer.train_loader):
        model = getattr(trainer.model, "module", trainer.model)
        if getattr(model, "criterion", None) is None:
            model.criterion = model.init_criterion()  # the first batch would have made it


def epoch_trained(trainer):
    """Its row shows the losses and learning rates with which it was trained."""
    if not _unfinished.end():
        return
    if _unfinished.losses:
        torch = sys.modules["torch"]
        losses = torch.tensor(_unfinished.losses, device=trainer.device)
        trainer.loss = losses.sum()  # stands for that of the last batch, which must be a number
        if _unfinished.loss_names:  # releases since 8.4 name each of them
            trainer.loss_names = tuple(_unfinished.loss_names)
            losses = dict(zip(trainer.loss_names, losses))
        trainer.tloss = trainer.loss_items = losses
    if _unfinished.rates:
        trainer.lr = dict(zip(trainer.lr, _unfinished.rates))


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
