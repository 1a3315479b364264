"""The emergency checkpoint: what a memory failure would lose, saved by the dying process itself.

Only where the launcher asked for it, only for a memory failure that ends the process, and only of a
state that is whole: the one after the last optimizer step, if the failure came in forward, loss,
backward or validation. In the optimizer's step, the EMA's update or a save the state is half
updated: nothing is saved then.

Touches: the local variables of the frames that failed are cleared (their tensors fill the memory),
the gradients and the CUDA cache are let go, and one file is written, `.yolowatch/emergency.pt` in
the run directory, whole or not at all. The trainer's own checkpoints are left alone; whether this
one is used is the daemon's decision.
"""

import ctypes
import gc
import math
import os
import sys
import traceback

from .. import settings
from ..agent import agent
from ..guard import entry
from ..place import place

FILE = os.path.join(".yolowatch", "emergency.pt")
_FAILURES = ("out of memory", "allocate memory", "ALLOC_FAILED", "CUDNN_STATUS", "CUBLAS_STATUS",
             "unable to find an engine", "could not create a primitive", "bad_alloc")  # fmt: skip

find_loop = []  # of each trainer family: a function of the failed frames, None or a `Loop`


class Loop:
    """A training that failed; each trainer family has its own.

    `save(file, epoch, complete)` writes the trainer's format, with `epoch` as the last trained one;
    `losses` and `loss_names` are the means of the epoch's training losses and `rates` the learning
    rates that its row of results would show.
    """

    run_dir = None
    losses = ()
    loss_names = ()
    rates = ()

    def release(self):
        """Let go of what only the failed batch needs, the gradients above all."""

    def save(self, file, epoch, complete):
        raise NotImplementedError


class _Done:
    once = False


def save():
    """Called at exit, after the last words, when an uncaught exception has been printed.

    Not in the excepthook: the interpreter itself holds the frames until that has returned.
    """
    if getattr(sys, "last_value", None) is not None:
        _save(sys.last_value)
        agent.tell_faults()  # there is no later window in which they would be told


@entry
def _save(error):
    wanted = settings.value("YOLOWATCH_EMERGENCY")
    if _Done.once or not wanted or sys.flags.inspect or not is_memory_failure(error):
        return
    _Done.once = True
    complete = place.trained_epoch is not None and place.trained_epoch == place.epoch
    if complete and place.phase != "validation":
        return
    if not complete and (wanted != "any" or place.phase not in ("forward", "loss", "backward")):
        return
    # A checkpoint names the last epoch that is trained: none can be resumed before the first is.
    epoch = place.epoch if complete else (place.epoch or 0) - 1
    if epoch < 0 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return
    loop = _loop_of(error)
    if loop is None or not all(map(math.isfinite, loop.losses)):
        return
    _release(error, loop)
    try:
        _write(loop, epoch, complete)
    except (MemoryError, RuntimeError, ValueError) as failure:
        obstacle = _first_cause(failure)
    else:
        obstacle = None
    if obstacle is not None:  # once more, without what the first try still held
        free()
        try:
            _write(loop, epoch, complete)
        except (MemoryError, RuntimeError, ValueError):
            raise RuntimeError("the state could not be saved: %s" % obstacle) from None
    agent.tell_at_any_cost(
        "emergency",
        epoch=epoch,
        complete=complete,
        step=place.step,
        losses=loop.losses if complete else (),
        loss_names=loop.loss_names,
        rates=loop.rates,
    )


def is_memory_failure(error):
    """Whether this exception may be a lack of memory; what it really is, the daemon decides."""
    text = str(error)
    return isinstance(error, MemoryError) or any(each in text for each in _FAILURES)


def name_of(error):
    """The type of an exception, as a person would write it."""
    kind = type(error)
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else module + "." + kind.__qualname__


def _loop_of(error):
    frames = [frame for frame, _line in traceback.walk_tb(error.__traceback__)]
    found = (find(frames) for find in find_loop)
    return next((loop for loop in found if loop is not None), None)


def _release(error, loop):
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        # A generator that has failed keeps its variables as long as its frame is known.
        error.__traceback__ = None
        error = error.__context__
    sys.last_traceback = None
    loop.release()
    free()


def free():
    """Give back what nobody holds any more."""
    gc.collect()
    give_back()


def give_back():
    """Give what is cached back to the device and to the system."""
    _trim_heap()
    cuda = sys.modules["torch"].cuda
    if cuda.is_initialized():
        cuda.empty_cache()


def _first_cause(error):
    """What went wrong first: a save that lacks memory ends in errors about its own remains."""
    while error.__context__ is not None:
        error = error.__context__
    return "%s: %s" % (type(error).__name__, error)


def _trim_heap():
    """Give back what is free in the heap: a limited process gets nothing new for it otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(0)


def _write(loop, epoch, complete):
    path = os.path.join(loop.run_dir, FILE)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    unfinished = path + ".new"
    try:
        with open(unfinished, "wb") as file:
            loop.save(file, epoch, complete)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        if os.path.exists(unfinished):
            os.remove(unfinished)
