"""Observes one step of the YOLOv5 family: network, loss and optimizer, wrapped at class level.

The callbacks of the loop say when a batch begins and ends, not where it stands in between.
"""

import functools
import sys

from .. import patches
from ..agent import agent
from ..guard import around, entry
from ..levers import rescue
from ..place import place


class _Seen:
    """What is remembered between two events of the current training; an instance, for speed."""

    __slots__ = (
        "training",
        "in_forward",
        "validated",
        "told",
        "configured_decay",
        "boxes",
        "expected",
    )

    def __init__(self):
        self.expected = False  # a training that began before the hook came
        self.training = self.in_forward = self.validated = self.told = False
        self.configured_decay = self.boxes = None


seen = _Seen()
_wrapped = set()  # what is wrapped already: a package's loop may be loaded under two names


def wrap_step(program):
    """Wrap what a step calls, as the namespace of the training program names it."""
    _wrap_forward(program.get("Model"))
    _wrap_once(program.get("ComputeLoss"), "__call__", after=_loss_ends)
    scaler = getattr(sys.modules["torch"].cuda.amp, "GradScaler", None)
    for name in ("unscale_", "step"):
        owner = next((each for each in getattr(scaler, "__mro__", ()) if name in vars(each)), None)
        _wrap_once(owner, name, before=_optimizer_begins)


def _wrap_once(owner, name, **callbacks):
    if owner is not None and (owner, name) not in _wrapped:
        _wrapped.add((owner, name))
        around(owner, name, **callbacks)


def _wrap_forward(model):
    """Report the outermost call of the network: augmentation and submodels call it again."""
    if model is None or (model, "forward") in _wrapped:
        return
    _wrapped.add((model, "forward"))
    original = model.forward

    @functools.wraps(original)
    def forward(network, x, *args, **kwargs):
        if seen.in_forward or place.phase not in ("forward", "validation"):
            return original(network, x, *args, **kwargs)
        _forward_begins(x)
        if place.phase == "validation":
            result = original(network, x, *args, **kwargs)
        else:
            result = rescue.forward(original, network, x, *args, **kwargs)
        _forward_ends()
        return result

    patches.put(model, "forward", forward)


@entry
def _forward_begins(x):
    if not seen.training:
        return
    seen.in_forward = True
    if place.phase == "forward":
        _batch_begins("backward", x.shape, seen.boxes)
    else:
        _batch_begins("validation", x.shape, None)


def _batch_begins(phase, shape, boxes):
    place.batch, place.height, place.width, place.boxes = shape[0], shape[-2], shape[-1], boxes
    agent.footprints.begin(phase, shape[0], shape[-2], shape[-1], boxes or 0)


@entry
def _forward_ends():
    if seen.in_forward:
        seen.in_forward = False
        if place.phase == "forward":
            place.phase = "loss"
        else:
            agent.footprints.forward_end()


@entry
def _loss_ends(*_args, **_kwargs):
    if place.phase == "loss":
        agent.footprints.forward_end()
        place.phase = "backward"


@entry
def _optimizer_begins(*_args, **_kwargs):
    if place.phase == "backward":
        agent.footprints.end()
        place.phase = "optimizer"
