"""A guarded start: sizes above the image size wait until the daemon has seen a few batches.

Only where the policy says so (YOLOWATCH_GUARD, a number of batches), in the user's own attempt and
the first training of a process. The upper end of the multi-scale range is the image size for that
many batches, and for as long as the daemon needs to hear of them and to answer. An order for a
narrower range ends the guard at once. Options and checkpoints keep the user's range.

Touches: what `multi_scale` touches.
"""

import time

from .. import settings
from ..guard import entry
from ..place import place
from . import edits, multi_scale

_ANSWER_SECONDS = 1.0  # ten windows: from a batch's end to the order that answers it


class _Guard:
    """`active` is asked for at each batch; the rest only while it is true."""

    __slots__ = ("active", "batches", "began", "drawing")

    def __init__(self):
        self.active = False
        self.batches = 0
        self.began = None
        self.drawing: multi_scale.Range | None = None


guard = _Guard()


@entry
def begin(program, size, stride):
    """A training that draws sizes in the namespace `program` is set up."""
    end()
    wanted = settings.value("YOLOWATCH_GUARD")
    if not wanted or edits.from_environment() or place.train_calls != 1 or place.step:
        return
    guard.batches, guard.began = int(wanted), None
    guard.drawing = multi_scale.install(program)
    guard.drawing.highest = size + stride
    guard.active = True


def end():
    """From now on the training draws from its own range."""
    guard.active = False
    if guard.drawing is not None:
        guard.drawing.highest = None
        guard.drawing = None


@entry
def batch(tell_run):
    """A batch begins under the guard; says so where it is the first one without."""
    now = time.monotonic()
    if guard.began is None:
        guard.began = now
    if place.step >= guard.batches and now - guard.began >= _ANSWER_SECONDS:
        end()
        tell_run()
