"""Gives cached memory back between training and validation, as ordered, and measures the stall.

What a phase has cached and the next does not use lies idle: of CUDA in the caching allocator, on
the CPU in free pages of the heap. Only on an order, because on CUDA it waits for the device, and
what is needed again has to be got again: that is told, with the seconds that each took.

Touches: the CUDA cache, the heap's free pages; no tensor.
"""

import time

from ..agent import agent
from ..guard import entry
from . import emergency


class _Releasing:
    """`wanted` since an order came."""

    __slots__ = ("wanted",)

    def __init__(self):
        self.wanted = False


releasing = _Releasing()


def order(_value=None):
    """Release from the next change of phase on."""
    releasing.wanted = True


def none():
    """There is no training any more that wants it."""
    releasing.wanted = False


@entry
def between():
    """The training thread is between two phases."""
    before = agent.memory().get("reserved_bytes")
    began = time.monotonic()
    emergency.give_back()
    seconds = time.monotonic() - began
    after = agent.memory().get("reserved_bytes")
    known = before is not None and after is not None
    agent.tell("released", seconds=seconds, bytes=max(before - after, 0) if known else None)
