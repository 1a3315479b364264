"""The hook goes: every wrapped symbol as it was, no thread, no module left behind.

What stays, because nothing offers to take it away: one empty function among those that run after a
fork, and on CUDA the allocator's observer, which then only remembers the last failure.
"""

import sys

from . import orders, patches, settings
from .agent import agent
from .guard import faults
from .levers import edits, multi_scale, rescue

_PACKAGE = __name__.rpartition(".")[0]


def obstacle():
    """Why the hook may not leave this process, or None."""
    if edits.from_environment():
        return "this attempt trains with changes of a plan that live in its hook"
    if multi_scale.is_changed():
        return "its range of image sizes was changed by an order and lives in its hook"
    if rescue.changed():
        return "a step was rescued in it, and its activations are computed by the hook since"
    return None


def leave():
    """Take everything back and end the agent; names of what is left wrapped, and passive.

    Called from the agent's own thread or from any but the training's.
    """
    faults.armed = False
    orders.take_none()
    kept = patches.take_back()
    agent.end()
    settings.forget()
    return kept


def forget():
    """Take the hook's modules out of the interpreter."""
    folder = None
    for name in list(sys.modules):
        if name == _PACKAGE or name.startswith(_PACKAGE + "."):
            folder = folder or getattr(sys.modules[_PACKAGE], "__path__", [None])[0]
            if name != _PACKAGE:
                del sys.modules[name]
    sys.modules.pop(_PACKAGE, None)
    if folder is not None:
        for path in list(sys.path_importer_cache):
            if path.startswith(folder):
                sys.path_importer_cache.pop(path, None)
