"""Observes YOLOv5, YOLOv9 and what grew out of them: their loop is one function, `train()`.

It tells where it stands through `utils.callbacks.Callbacks.run`, whose caller is the loop itself:
what the callbacks leave unsaid is read from its local variables. Beside `Callbacks`, the network,
the loss and the gradient scaler are wrapped at class level, and `train` in its module; nothing of
ours is on an instance that is pickled, deep-copied or saved. What an order changes stands in
`levers`.

A program is recognised by what it has, `Callbacks` and a `train(hyp, opt, device, callbacks)` with
a local `nbs`, not by its name.
"""

import functools
import inspect
import os
import sys

from .. import oom, orders, patches, settings
from ..agent import agent
from ..frames import values_of
from ..guard import around, entry
from ..levers import callbacks_family as levers
from ..levers import departing, emergency_callbacks_family, guarding, releasing, rescue
from ..place import place
from . import optimizers
from .callbacks_family_run import NEEDED, describe, describe_options, entry_of_training
from .callbacks_family_step import seen, wrap_step

_ARGUMENTS = ("hyp", "opt", "device", "callbacks")


@entry
def install(name):
    """Called right after a module `utils.callbacks` of whatever package was imported."""
    base = getattr(sys.modules[name], "Callbacks", None)
    if inspect.isclass(base) and hasattr(base, "register_action") and hasattr(base, "run"):
        _wrap_callbacks(base)
        seen.expected = settings.is_late()
        emergency_callbacks_family.install(_is_loop)


def _wrap_callbacks(base):
    created, run = base.__init__, base.run

    @functools.wraps(created)
    def __init__(callbacks, *args, **kwargs):
        created(callbacks, *args, **kwargs)
        _created(sys._getframe(1))

    @functools.wraps(run)
    def wrapped_run(callbacks, hook, *args, **kwargs):
        _event(hook, sys._getframe(1), args, kwargs)
        result = run(callbacks, hook, *args, **kwargs)
        if departing.departure.due:
            departing.depart()
        return result

    patches.put(base, "__init__", __init__)
    patches.put(base, "run", wrapped_run)


@entry
def _created(frame):
    """`Callbacks()` is a default in the signature of `main`, which stands below `train`: the
    earliest moment at which the program can be seen, and before anything of it runs.
    """
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back  # of another who watches the same class
    program = frame.f_globals if frame is not None else {}
    _watch(program)


def _watch(program):
    """Watch the training program with this namespace, once it has a loop that is not watched."""
    train = program.get("train")
    if not inspect.isfunction(train) or not _is_loop(train.__code__):
        return
    levers.install(train)
    module = sys.modules[program["__name__"]]
    around(module, "parse_opt", after=levers.options_parsed)
    _wrap_train(module, train)
    wrap_step(program)
    validation = program.get("validate")
    if inspect.ismodule(validation) and hasattr(validation, "run"):
        rescue.watch_validation(validation, "run", _loader_of)


def _is_loop(code):
    return code.co_varnames[: len(_ARGUMENTS)] == _ARGUMENTS and "nbs" in code.co_varnames


def _loop_of(frame):
    """The frame of the loop: the caller, unless another watches the callbacks as well."""
    while not _is_loop(frame.f_code):
        frame = frame.f_back
    return frame


def _wrap_train(module, original):
    @functools.wraps(original)
    def train(hyp, opt, device, callbacks, *args, **kwargs):
        _training_begins(hyp, opt, device, module.__dict__)
        hyp = levers.before_training(opt) or hyp
        return original(hyp, opt, device, callbacks, *args, **kwargs)

    patches.put(module, "train", train)
    around(module, "train", failed=oom.left_trainer)


@entry
def _training_begins(hyp, opt, device, program):
    place.another_training()
    seen.expected = False
    # A resume scales its settings in place: what was configured is only there to be read now.
    seen.configured_decay = hyp.get("weight_decay") if isinstance(hyp, dict) else None
    seen.training, seen.told = True, False
    agent.start(str(device))
    optimizers.leave()
    agent.tell("run", **describe_options(opt, device, program))


@entry
def _event(hook, frame, args, kwargs):
    handler = _EVENTS.get(hook)
    if handler is not None and (seen.training or (seen.expected and _join(frame))):
        if hook.endswith("_start") and place.phase in ("backward", "optimizer"):
            _batch_end(frame, args, kwargs)  # of which ranks but the first are never told
        handler(frame, args, kwargs)


def _join(frame):
    """The first event of a loop that ran before the hook came; whether it is one of a loop."""
    while frame is not None and not _is_loop(frame.f_code):
        frame = frame.f_back
    if frame is None:
        return False
    seen.expected, seen.training = False, True
    _watch(frame.f_globals)
    names = "device", "epoch", "start_epoch", "nb", "i", "optimizer"
    device, place.epoch, start_epoch, batches, number, optimizer = values_of(frame, *names)
    if batches and None not in (place.epoch, start_epoch, number):
        place.step = batches * (place.epoch - start_epoch) + number
    place.train_calls = 1 if entry_of_training(frame.f_globals) == "command" else None
    optimizers.leave()
    agent.start(str(device))
    _train_start(frame, (), {})
    seen.told = optimizer is not None and len(optimizer.state) > 0
    return True


def _tell_run(frame):
    frame = _loop_of(frame)
    values = dict(zip(NEEDED, values_of(frame, *NEEDED)))
    if seen.configured_decay is None:
        seen.configured_decay = values["opt"].hyp["weight_decay"]
    agent.tell("run", **describe(values, seen.configured_decay, frame.f_globals))


def _train_start(frame, _args, _kwargs):
    levers.set_up(_loop_of(frame))
    device = values_of(_loop_of(frame), "device")[0]
    if device.type == "cuda":
        oom.observe_cuda(sys.modules["torch"])
        agent.start("cuda:%d" % (device.index or 0))
    _tell_run(frame)
    agent.wake()


def _epoch_start(frame, _args, _kwargs):
    loop = _loop_of(frame)
    levers.epoch_begins(loop)
    place.epoch = values_of(loop, "epoch")[0]
    place.trained_epoch = None
    place.phase = "data"
    seen.validated = False
    place.all_saved = False


def _batch_start(frame, _args, _kwargs):
    targets, accumulate = values_of(_loop_of(frame), "targets", "accumulate")
    seen.boxes = targets.shape[0] if targets is not None else None
    seen.in_forward = False  # one that failed did not say that it ended
    place.phase = "forward"
    place.accumulate = int(accumulate)
    if orders.waiting:
        agent.obey(levers.live(_loop_of(frame)), lambda: _tell_run(frame))
    if guarding.guard.active:
        guarding.batch(lambda: _tell_run(frame))


def _batch_end(frame, _args, _kwargs):
    if place.phase == "optimizer":
        agent.footprints.phase_end("optimizer")
    agent.footprints.end()
    place.step += 1
    place.phase = "data"
    if not seen.told:  # once the optimizer's state exists, the floor is known
        optimizer = values_of(_loop_of(frame), "optimizer")[0]
        if len(optimizer.state) > 0:
            seen.told = True
            _tell_run(frame)


def _epoch_trained(frame, _args, _kwargs):
    levers.epoch_trained(_loop_of(frame))
    place.trained_epoch = place.epoch
    place.phase = "validation"
    if releasing.releasing.wanted:
        releasing.between()


def _validation_starts(_frame, _args, _kwargs):
    seen.in_forward = False
    place.phase = "validation"


def _validation_batch_end(_frame, _args, _kwargs):
    agent.footprints.end()


def _loader_of(*_args, **kwargs):
    return kwargs.get("dataloader")


def _validation_end(_frame, _args, _kwargs):
    seen.validated = True


def _epoch_end(_frame, args, _kwargs):
    if len(args) > 1 and args[1] == place.epoch and place.phase == "validation":
        agent.tell("epoch_end", epoch=place.epoch, validated=seen.validated)
    place.trained_epoch = None
    place.phase = "save"
    if releasing.releasing.wanted:
        releasing.between()


def _model_saved(_frame, args, _kwargs):
    agent.footprints.phase_end("save")
    place.phase = "data"
    path = os.path.abspath(str(args[0]))
    place.all_saved = True
    agent.tell_at_any_cost("checkpoint", path=path, epoch=args[1], step=place.step)
    departing.saved(args[1], args[2])


def _train_end(_frame, args, _kwargs):
    seen.training = False
    orders.take_none()
    place.all_saved = False
    agent.tell_at_any_cost("bye", finished=True, epoch=args[2])


_EVENTS = {
    "on_train_start": _train_start,
    "on_train_epoch_start": _epoch_start,
    "on_train_batch_start": _batch_start,
    "on_train_batch_end": _batch_end,
    "on_train_epoch_end": _epoch_trained,
    "on_val_start": _validation_starts,
    "on_val_batch_end": _validation_batch_end,
    "on_val_end": _validation_end,
    "on_fit_epoch_end": _epoch_end,
    "on_model_save": _model_saved,
    "on_train_end": _train_end,
}
