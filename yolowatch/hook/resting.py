"""The agent's rest between two windows, in which a young training still looks for orders.

The first batches of a training tell the daemon most, and what follows from them may be urgent: the
next batch may be one that does not fit. So the windows are short then, and orders are looked for in
between, at a few microseconds a look.
"""

import time

from . import orders
from .guard import faults
from .place import place

_YOUNG_STEPS = 32
_LOOK_SECONDS = 0.02


def is_young():
    """Whether a training is set up that has only begun."""
    return orders.are_taken() and place.step < _YOUNG_STEPS


def rest(wake, seconds, look):
    """Wait so long, or until the event `wake` is set; `look` is called in between."""
    end = time.monotonic() + seconds
    while not wake.wait(min(seconds, _LOOK_SECONDS) if is_young() else seconds):
        seconds = end - time.monotonic()
        if seconds <= 0 or not faults.armed:
            break
        look()
    wake.clear()
