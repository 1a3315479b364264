"""How a training numbers its CUDA devices, and whether its trainer can spawn ranks on several.

The driver counts all devices; a training may be shown some of them, or in another order. Releases
of Ultralytics before 8.4 set such a variable themselves, for the devices that they are given: so
the environment is looked at before the trainer is made. Where that was missed, nothing is known.
"""

import importlib.util
import os
import sys

_RENUMBER = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")


class _Before:
    """What the environment was before the trainer was made; None: nobody has looked."""

    renumbered = None


def look():
    """A trainer is about to be made."""
    _Before.renumbered = any(name in os.environ for name in _RENUMBER)


def describe(trainer):
    """The fields of `wire`'s run that say so; None for each that is not known."""
    if trainer.device.type != "cuda":
        return {}
    return {
        "gpu_number": number_of(trainer.device.index or 0, os.environ.get(_RENUMBER[0])),
        "renumbered": _Before.renumbered,
        "spawnable": _spawnable(trainer),
    }


def number_of(index, visible):
    """The number among all devices of the one that is `index` among the visible ones, or None."""
    if visible is None:
        return index
    numbers = [each.strip() for each in visible.split(",")]
    if index < len(numbers) and numbers[index].isdigit():
        return int(numbers[index])
    return None


def _spawnable(trainer):
    """Whether what it spawns ranks with is there, and it would train in them as it does alone."""
    if getattr(trainer.args, "rect", None) is not False:
        return False  # which it gives up with several devices
    release = tuple(map(int, sys.modules["ultralytics"].__version__.split(".")[:2]))
    return release < (8, 4) or importlib.util.find_spec("cloudpickle") is not None
