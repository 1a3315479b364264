"""When the hook becomes active: an import hook that waits for torch and for the trainers.

Nothing is watched, sent or started before torch is imported, so that every other Python process
costs only this module. Processes that a DataLoader spawns are left alone.
"""

import os
import sys

from .guard import entry, faults

# Modules after whose import something of ours is installed.
_WATCHED = ("torch", "ultralytics.engine.trainer")
# YOLOv5 and what grew out of it have this one, in whatever package or in none.
_CALLBACKS = "utils.callbacks"


def _is_watched(name):
    return name in _WATCHED or name == _CALLBACKS or name.endswith("." + _CALLBACKS)


class _Finder:
    """Finds nothing itself: it lets the others find a watched module and runs our part after it."""

    def find_spec(self, name, path=None, target=None):
        if not _is_watched(name) or not faults.armed:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                _run_after(spec, name)
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
        arrived(name)

    loader.exec_module = exec_module


@entry
def arrived(name):
    """A watched module has been imported."""
    from . import oom  # everything is loaded from here on, in one version
    from .observe import callbacks_family, optimizers, ultralytics

    if name == "torch":
        oom.install()
        optimizers.install()
    elif name == "ultralytics.engine.trainer":
        ultralytics.install()
    else:
        callbacks_family.install(name)


def _is_worker():
    """Whether this process was started by multiprocessing to serve another one."""
    with open("/proc/self/cmdline", "rb") as file:
        words = file.read().split(b"\0")
    return any(w.startswith((b"--multiprocessing-fork", b"from multiprocessing.")) for w in words)


@entry
def arm():
    """Install the import hook; called once, at the start of the interpreter."""
    if _is_worker():
        faults.armed = False
        return
    os.register_at_fork(after_in_child=_disarm)
    sys.meta_path.insert(0, _Finder())
    for name in list(sys.modules):
        if _is_watched(name):
            arrived(name)


@entry
def _disarm():
    from .agent import agent

    agent.silence()
