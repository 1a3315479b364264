"""The levers of an Ultralytics trainer that the user's policy must name.

Touches, where the plan says so: `args.imgsz`, `args.freeze` and `args.device`, right after the
trainer has its configuration; the model, right after it was built (`pruning`); the optimizer, right
after it was built (`eight_bit`). What of a checkpoint does not fit such a model or optimizer is
taken out of it before the trainer loads it: the trainer then begins that part afresh.
"""

import functools

from ..guard import entry
from . import eight_bit, pruning


def install(base, changes, is_ours):
    """Wrap `BaseTrainer` for those of the levers that are among the changes."""
    if changes.get("optimizer_bits") == 8:
        _exchange_optimizer(base, is_ours)
    if changes.get("pruning"):
        _prune(base, changes["pruning"], is_ours)
    if changes.get("optimizer_bits") == 8 or changes.get("pruning"):
        _load_what_fits(base, changes, is_ours)


def set_arguments(args, changes):
    """Give the trainer's arguments the image size, frozen layers and devices of the plan."""
    if changes.get("image_size"):
        args.imgsz = changes["image_size"]
    if changes.get("freeze"):
        args.freeze = frozen_layers(args.freeze, changes["freeze"])
    if changes.get("one_gpu"):
        args.device = first_device(args.device)
    if changes.get("more_gpus"):
        args.device = ",".join(map(str, changes["more_gpus"]))  # for which it spawns a rank each


def first_device(users):
    """The first of the devices that the user named, in whichever form."""
    if isinstance(users, (list, tuple)):
        return users[0] if users else users
    return str(users).strip("[]() ").split(",")[0].strip(" '\"")


def frozen_layers(users, first):
    """What the user froze, and the first layers: a number, or a list where the user named some."""
    if isinstance(users, (list, tuple)):
        return sorted({*users, *range(first)})
    return max(users or 0, first)


def _exchange_optimizer(base, is_ours):
    original = base.build_optimizer

    @functools.wraps(original)
    def build_optimizer(trainer, *args, **kwargs):
        optimizer = original(trainer, *args, **kwargs)
        return (_in_eight_bits(optimizer) if is_ours() else None) or optimizer

    base.build_optimizer = build_optimizer


@entry
def _in_eight_bits(optimizer):
    return eight_bit.exchanged(optimizer)


def _prune(base, ratio, is_ours):
    original = base.setup_model

    @functools.wraps(original)
    def setup_model(trainer, *args, **kwargs):
        checkpoint = original(trainer, *args, **kwargs)
        if is_ours():
            _made_smaller(trainer, checkpoint, ratio)
        return checkpoint

    base.setup_model = setup_model


@entry
def _made_smaller(trainer, checkpoint, ratio):
    """The checkpoint's own model where that is pruned already, else the whole one is pruned."""
    whole = trainer.model
    saved = (checkpoint or {}).get("ema") if trainer.args.resume else None
    if saved is not None and pruning.is_smaller(saved, whole):
        trainer.model = pruning.adopted(saved, whole)
    else:
        trainer.model = pruning.pruned(whole, ratio)


def _load_what_fits(base, changes, is_ours):
    """Before each way in which the trainer takes its state from a checkpoint."""
    for name in ("resume_training", "_load_checkpoint_state"):
        original = getattr(base, name, None)  # the latter since 8.4
        if original is not None:
            setattr(base, name, _fitting(original, changes, is_ours))


def _fitting(original, changes, is_ours):
    @functools.wraps(original)
    def load(trainer, ckpt, *args, **kwargs):
        if ckpt is not None and trainer.args.resume and is_ours():
            ckpt = _without_misfits(trainer, ckpt, changes) or ckpt
        return original(trainer, ckpt, *args, **kwargs)

    return load


@entry
def _without_misfits(trainer, ckpt, changes):
    fitting = dict(ckpt)
    if changes.get("optimizer_bits") == 8:
        # The trainer saves states in half precision, in which the scales of 8-bit ones are lost.
        fitting["optimizer"] = None
        trainer.optimizer.state.clear()
    if changes.get("pruning") and not pruning.fits(ckpt.get("ema"), trainer.model):
        fitting["optimizer"] = fitting["ema"] = None
        trainer.ema.updates = ckpt.get("updates") or 0
    return fitting
