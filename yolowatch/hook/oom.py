"""The last words of a dying training, and the CUDA allocator's own out-of-memory observer.

An exception that leaves the trainer is reported at once, as one that the program may still handle.
It becomes final when the interpreter calls the excepthook, or at exit when the interpreter
remembers it as uncaught, which also holds for programs that replaced the excepthook after us.
"""

import atexit
import sys
import threading

from . import patches
from .agent import agent
from .guard import entry
from .levers import emergency
from .place import place

_FRAMES = 8


class _Failure:
    """The exception that left the trainer, as it was reported: its identity and its fields."""

    identity = None
    fields = None
    final = False


_requested = {}  # device index -> (requested bytes, free bytes) of the last CUDA failure


@entry
def left_trainer(error, *_args):
    """An exception leaves the trainer; what the failure holds is still held, so the figures are
    true.
    """
    _Failure.identity = id(error)
    _Failure.fields = _describe(_memory_failure_behind(error))
    _Failure.final = False
    agent.flush()
    agent.tell_at_any_cost("last_words", handled=True, **_Failure.fields)


def _memory_failure_behind(error):
    """The lack of memory in whose handling a trainer failed once more, else the error itself.

    A save that gets no memory ends in another error, because its file cannot be closed properly.
    """
    behind, seen = error, set()
    while behind is not None and id(behind) not in seen:
        if emergency.is_memory_failure(behind):
            return behind
        seen.add(id(behind))
        behind = behind.__context__
    return error


@entry
def _final(error):
    # At an interpreter's prompt an exception that nobody caught ends nothing.
    if _Failure.final or not agent.started or sys.flags.inspect or hasattr(sys, "ps1"):
        return
    fields = _Failure.fields if _Failure.identity == id(error) else _describe(error)
    _Failure.final = True
    agent.tell_at_any_cost("last_words", handled=False, **fields)


@entry
def _at_exit():
    error = getattr(sys, "last_value", None)
    if error is not None:
        _final(error)


def _describe(error):
    fields = place.fields()
    fields.update(agent.memory())
    fields.update(
        exception=emergency.name_of(error),
        text=str(error),
        frames=_innermost(error.__traceback__),
        train_calls=place.train_calls,
    )
    if _requested:
        requested, free = list(_requested.values())[-1]
        fields.update(requested_bytes=requested, device_free_bytes=free)
    return fields


def _innermost(traceback):
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append("%s:%d %s" % (code.co_filename[-100:], traceback.tb_lineno, code.co_name))
        traceback = traceback.tb_next
    return frames[-_FRAMES:]


@entry
def install():
    """Chain into the excepthooks of the interpreter and of its threads; once a process."""
    previous = sys.excepthook

    def excepthook(kind, value, traceback):
        _final(value)
        previous(kind, value, traceback)

    patches.put(sys, "excepthook", excepthook)
    previous_thread = getattr(threading, "excepthook", None)
    if previous_thread is not None:

        def thread_excepthook(arguments):
            if arguments.exc_value is not None and agent.started:
                _thread_died(arguments.exc_value)
            previous_thread(arguments)

        patches.put(threading, "excepthook", thread_excepthook)
    atexit.register(emergency.save)  # the later one runs first
    atexit.register(_at_exit)
    patches.later(atexit.unregister, emergency.save)
    patches.later(atexit.unregister, _at_exit)


@entry
def _thread_died(error):
    agent.tell_at_any_cost("last_words", handled=True, **_describe(error))


@entry
def observe_cuda(torch):
    """Let the CUDA allocator tell of each failure; it would initialise CUDA, so not before that."""
    attach = getattr(torch._C, "_cuda_attach_out_of_memory_observer", None)
    if attach is None or not torch.cuda.is_initialized():
        return

    def observer(device, requested, _device_total, device_free):
        _requested[device] = (requested, device_free)

    attach(observer)
