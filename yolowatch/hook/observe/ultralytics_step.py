"""Observes one step of an Ultralytics trainer: network, loss and optimizer, wrapped at class level.

The callbacks of the trainer say when a batch begins and ends, not where it stands in between.
"""

import functools

from .. import patches
from ..agent import agent
from ..guard import entry
from ..levers import rescue
from ..place import place


class _Seen:
    """What is remembered between two events of the current trainer.

    An instance, because each assignment to a class makes the interpreter forget where its
    attributes are.
    """

    __slots__ = ("batch", "told", "in_forward", "expected")

    def __init__(self):
        self.expected = False  # a training that began before the hook came
        self.batch = self.told = None
        self.in_forward = False


seen = _Seen()


def wrap_forward(base):
    """Report the outer of two calls: `model(batch)` computes the loss and calls itself for the
    network, whose end is the beginning of the loss.

    Here and in the optimizer's step, what every step needs stands outside a guard, because it only
    sets names of ours: a call costs microseconds, after a step that has emptied the caches.
    """
    original = base.forward

    @functools.wraps(original)
    def forward(model, x, *args, **kwargs):
        if seen.in_forward:
            result = original(model, x, *args, **kwargs)
            if place.phase == "forward":
                place.phase = "loss"
            return result
        if place.phase not in ("forward", "validation"):
            return original(model, x, *args, **kwargs)
        _forward_begins(x)
        if place.phase == "validation":
            result = original(model, x, *args, **kwargs)
        else:
            result = rescue.forward(original, model, x, *args, **kwargs)
        seen.in_forward = False
        if place.phase != "validation":
            place.phase = "backward"
        if place.reading:
            _forward_ends()
        return result

    patches.put(base, "forward", forward)


@entry
def _forward_begins(x):
    seen.in_forward = True
    boxes = None
    if isinstance(x, dict):
        classes = x.get("cls")
        boxes = None if classes is None else classes.shape[0]
        x = x["img"]
    shape = x.shape
    place.batch, place.height, place.width, place.boxes = shape[0], shape[-2], shape[-1], boxes
    phase = "backward" if place.phase == "forward" else "validation"
    agent.footprints.begin(phase, shape[0], shape[-2], shape[-1], boxes or 0)


@entry
def _forward_ends():
    agent.footprints.forward_end()


def wrap_optimizer_step(base):
    original = base.optimizer_step

    @functools.wraps(original)
    def optimizer_step(trainer, *args, **kwargs):
        place.phase = "optimizer"
        if place.reading:
            _backward_ends()
        return original(trainer, *args, **kwargs)

    patches.put(base, "optimizer_step", optimizer_step)


@entry
def _backward_ends():
    agent.footprints.end()
