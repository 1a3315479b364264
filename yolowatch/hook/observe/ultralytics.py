"""Observes the trainers of Ultralytics: phase, epoch, step, batch, accumulation and image size.

Wraps methods of `BaseTrainer`, `BaseValidator` and `BaseModel` at class level, so that nothing of
ours is on an instance that is pickled, deep-copied or saved. Reads attributes, changes none; what
an order changes stands in `levers`.
"""

import functools
import os
import sys

from .. import oom, orders, patches, settings
from ..agent import agent
from ..frames import values_of
from ..guard import around, entry
from ..levers import departing, emergency_ultralytics, guarding, releasing, rescue
from ..levers import ultralytics as levers
from ..place import place
from . import numbering, optimizers
from .ultralytics_run import describe, entry_of_training
from .ultralytics_step import seen, wrap_forward, wrap_optimizer_step


@entry
def install():
    """Called right after `ultralytics.engine.trainer` was imported."""
    from ultralytics.engine import trainer, validator
    from ultralytics.nn import tasks

    base = trainer.BaseTrainer
    emergency_ultralytics.install(base)
    levers.install(base)
    around(base, "__init__", before=_creating, after=_created)
    around(base, "train", failed=oom.left_trainer)
    _wrap_callbacks(base)
    wrap_optimizer_step(base)
    around(base, "validate", before=_validation_begins, after=_validation_ends)
    around(base, "save_model", before=_save_begins, after=_save_ends)
    around(validator.BaseValidator, "run_callbacks", before=_validator_event)
    rescue.watch_validation(validator.BaseValidator, "__call__", _loader_of)
    wrap_forward(tasks.BaseModel)
    seen.expected = settings.is_late()


@entry
def _creating(*_args, **_kwargs):
    seen.expected = False
    place.another_training()
    seen.batch = seen.told = None
    numbering.look()
    orders.take_none()


@entry
def _created(_result, trainer, *_args, **_kwargs):
    agent.start(str(trainer.device))
    optimizers.leave()
    agent.tell("run", **describe(trainer))


def _wrap_callbacks(base):
    original = base.run_callbacks

    @functools.wraps(original)
    def run_callbacks(trainer, event, *args, **kwargs):
        handler = _EVENTS.get(event)
        if handler is not None:
            if seen.expected:
                _join(trainer, sys._getframe(1))
            handler(trainer)
        result = original(trainer, event, *args, **kwargs)
        if departing.departure.due:
            departing.depart()
        return result

    patches.put(base, "run_callbacks", run_callbacks)


@entry
def _join(trainer, loop):
    """The first event of a trainer that was made before the hook came, from its loop's frame."""
    seen.expected = False
    place.epoch = trainer.epoch
    batches, number = values_of(loop, "nb", "i")
    if batches and number is not None:
        place.step = batches * (trainer.epoch - trainer.start_epoch) + number
    place.train_calls = 1 if entry_of_training() == "command" else None
    optimizers.leave()
    agent.start(str(trainer.device))
    _train_start(trainer)
    seen.told = len(trainer.optimizer.state) > 0 or None


@entry
def _train_start(trainer):
    if trainer.device.type == "cuda":
        oom.observe_cuda(sys.modules["torch"])
        agent.start("cuda:%d" % (trainer.device.index or 0))
    seen.batch = trainer.batch_size
    levers.take_orders(trainer)
    agent.tell("run", **describe(trainer))
    agent.wake()


@entry
def _epoch_start(trainer):
    levers.epoch_begins(trainer)
    place.trained_epoch = None
    place.all_saved = False
    place.epoch = trainer.epoch
    place.phase = "data"
    if seen.batch is not None and trainer.batch_size != seen.batch:
        agent.tell("retry", batch_before=seen.batch, text="", **place.fields())
        agent.tell("run", **describe(trainer))
    seen.batch = trainer.batch_size


@entry
def _batch_start(trainer):
    place.phase = "forward"
    seen.in_forward = False  # one that failed did not say that it ended
    place.accumulate = trainer.accumulate
    if orders.waiting:
        agent.obey(levers.live(trainer), lambda: agent.tell("run", **describe(trainer)))
    if guarding.guard.active:
        guarding.batch(lambda: agent.tell("run", **describe(trainer)))


@entry
def _batch_end(trainer):
    if place.phase == "optimizer":
        agent.footprints.phase_end("optimizer")
    if place.reading:
        agent.footprints.end()
    place.step += 1
    place.phase = "data"
    if not seen.told:  # once the optimizer's state exists, the floor is known
        state = trainer.optimizer.state
        if len(state) > 0:
            seen.told = True
            agent.tell("run", **describe(trainer))


@entry
def _epoch_trained(trainer):
    levers.epoch_trained(trainer)
    place.trained_epoch = trainer.epoch
    place.phase = "data"


@entry
def _epoch_end(trainer):
    if trainer.epoch == place.epoch:  # the final evaluation pretends to be one epoch further
        agent.tell("epoch_end", epoch=trainer.epoch, validated=trainer.metrics is not None)


@entry
def _train_end(trainer):
    orders.take_none()
    place.all_saved = False
    agent.tell_at_any_cost("bye", finished=True, epoch=trainer.epoch)


@entry
def _model_saved(trainer):
    path = os.path.abspath(trainer.last)
    place.all_saved = True
    agent.tell_at_any_cost("checkpoint", path=path, epoch=trainer.epoch, step=place.step)
    departing.saved(trainer.epoch, trainer.stop or trainer.epoch + 1 >= trainer.epochs)


_EVENTS = {
    "on_train_start": _train_start,
    "on_train_epoch_start": _epoch_start,
    "on_train_batch_start": _batch_start,
    "on_train_batch_end": _batch_end,
    "on_train_epoch_end": _epoch_trained,
    "on_model_save": _model_saved,
    "on_fit_epoch_end": _epoch_end,
    "on_train_end": _train_end,
}


@entry
def _validation_begins(*_args, **_kwargs):
    place.phase = "validation"
    if releasing.releasing.wanted:
        releasing.between()


@entry
def _validation_ends(*_args, **_kwargs):
    place.phase = "data"
    if releasing.releasing.wanted:
        releasing.between()


def _loader_of(validator, *_args, **_kwargs):
    return validator.dataloader


def _join_in_validation(frame):
    """Only the validator has events now: the trainer stands further up in the stack."""
    while frame is not None and frame.f_code.co_name != "_do_train":
        frame = frame.f_back
    if frame is not None:
        trainer = values_of(frame, "self")[0]
        _join(trainer, frame)
        place.trained_epoch = trainer.epoch
        place.phase = "validation"


@entry
def _validator_event(_validator, event, *_args):
    if seen.expected:
        _join_in_validation(sys._getframe(1))
    if event == "on_val_start":
        seen.in_forward = False
        place.phase = "validation"
    elif event == "on_val_batch_end":
        agent.footprints.end()


@entry
def _save_begins(*_args, **_kwargs):
    place.trained_epoch = None
    place.phase = "save"


@entry
def _save_ends(*_args, **_kwargs):
    agent.footprints.phase_end("save")
    place.phase = "data"
