"""Reads local variables of a running function, and leaves no trace of having looked."""

import sys

_OURS_ALONE = 3  # references: the frame's, `held` below, and the argument of getrefcount


def values_of(frame, *names):
    """The values of these local variables, None for each that has none yet.

    Before Python 3.13 the frame keeps the dictionary that it is asked for, a copy: it is emptied
    again, or it would hold a batch's tensors longer than the function itself does. Not where the
    function asked for it as well, with `locals()`: then it is that function's own.
    """
    held = frame.f_locals
    values = [held.get(name) for name in names]
    if type(held) is dict and sys.getrefcount(held) <= _OURS_ALONE:
        held.clear()
    return values
