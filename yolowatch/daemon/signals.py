"""What the daemon does when a signal comes; what was done before is put back when it ends.

Nothing is signalled from here. The act runs in the main thread between two of its steps, so it
only raises a flag.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable


def on(stack: contextlib.ExitStack, act: Callable[[], None], *numbers: int) -> None:
    """Call `act` for each signal of these numbers until `stack` is unwound."""
    for number in numbers:
        before = signal.signal(number, lambda _number, _frame: act())
        stack.callback(signal.signal, number, before)
