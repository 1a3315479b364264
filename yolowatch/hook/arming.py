"""When the hook becomes active: an import hook that waits for torch and for the trainers.

Nothing is watched, sent or started before torch is imported, so that every other Python process
costs only this module. Processes that a DataLoader spawns are left alone. In a process that runs
already, what waits there for its import may be imported, or be just in the middle of it.
"""

import _thread
import os
import sys
import time
import types

from . import patches
from .guard import entry, faults

# Modules after whose import something of ours is installed.
_WATCHED = ("torch", "ultralytics.engine.trainer")
# YOLOv5 and what grew out of them have this one, in whatever package or in none.
_CALLBACKS = "utils.callbacks"
_LOOK_AGAIN_SECONDS = 0.05

_come = set()  # watched modules for which ours is installed


def _is_watched(name):
    return name in _WATCHED or name == _CALLBACKS or name.endswith("." + _CALLBACKS)


class _Finder:
    """Finds nothing itself: it lets the others find a watched module and runs our part after it.

    Another one of this kind, such as those of tracers, asks all finders again, and this one too.
    """

    def __init__(self):
        self._asking = set()  # threads and names for which the others are being asked

    def find_spec(self, name, path=None, target=None):
        asked = _thread.get_ident(), name
        if not _is_watched(name) or not faults.armed or asked in self._asking:
            return None
        self._asking.add(asked)
        try:
            spec = self._found(name, path, target)
        finally:
            self._asking.discard(asked)
        if spec is not None:
            _run_after(spec, name)
        return spec

    def _found(self, name, path, target):
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                return spec
        return None


@entry
def _run_after(spec, name):
    loader = spec.loader
    execute = loader.exec_module

    def exec_module(module):
        # An attribute of this one loader: its class, and so what else it can do, stays as it was.
        del loader.exec_module
        execute(module)
        _come.discard(name)  # another module of that name, or the first one
        arrived(name)

    loader.exec_module = exec_module


@entry
def arrived(name):
    """A watched module has been imported."""
    from . import oom  # everything is loaded from here on, in one version
    from .observe import callbacks_family, optimizers, ultralytics

    if name in _come:
        return
    _come.add(name)
    if name == "torch":
        oom.install()
        optimizers.install()
    elif name == "ultralytics.engine.trainer":
        ultralytics.install()
    else:
        callbacks_family.install(name)


def is_worker():
    """Whether this process was started by multiprocessing to serve another one."""
    with open("/proc/self/cmdline", "rb") as file:
        words = file.read().split(b"\0")
    return any(w.startswith((b"--multiprocessing-fork", b"from multiprocessing.")) for w in words)


@entry
def arm():
    """Install the import hook, once a process; what waits for its module here, it finds."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    if is_worker():
        faults.armed = False
        return
    _silence_children()
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    patches.later(_remove, finder)
    for name in list(sys.modules):
        if _is_watched(name) and _is_imported(name):
            arrived(name)


def _is_imported(name):
    """Wait, in the thread of an attached hook only, for the end of an import that has begun."""
    while faults.armed:
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if not getattr(spec, "_initializing", False):
            return name in sys.modules
        time.sleep(_LOOK_AGAIN_SECONDS)
    return False


def _remove(finder):
    if finder in sys.meta_path:
        sys.meta_path.remove(finder)


def _silence_children():
    """The interpreter keeps for ever what is to run after a fork: it gets a function that knows
    nothing of this module, and a list that is emptied when the hook goes.
    """
    held = [_disarm]
    in_child = types.FunctionType(_call_each.__code__, {}, "_call_each", (held,))
    os.register_at_fork(after_in_child=in_child)
    patches.later(held.clear)


def _call_each(held):
    for each in held:
        each()


@entry
def _disarm():
    from .agent import agent

    agent.silence()
