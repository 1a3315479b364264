"""What yolowatch itself writes to its terminal.

Nobody need read it: a pipe may be closed and a connection may hang up while the training goes on.
That is no failure, and the descriptors, which later attempts inherit, stay as they are.
"""

from __future__ import annotations

import os
import sys


def tell(text: str) -> None:
    """Write a line to standard error, or nothing, now and later, where nobody can read it."""
    if sys.stderr is None:  # it was closed before the start
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process


def flush_output() -> bool:
    """Write out what was printed to standard output; False where its reader has gone.

    What is left is thrown away then: the interpreter would report it at its own end, with a status.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        return False
    return True


def discard_output() -> None:
    """Print to nowhere from now on."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
