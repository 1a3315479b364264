"""The first message on every connection: which process this is, and what came with it."""

import os
import sys

from . import settings


def hello():
    """The fields of `wire`'s hello."""
    torch = sys.modules.get("torch")
    return {
        "pid": os.getpid(),
        "attempt": int(settings.value("YOLOWATCH_ATTEMPT", "0")),
        "hook": os.path.basename(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
        "python": "%d.%d.%d" % sys.version_info[:3],
        "torch": getattr(torch, "__version__", None),
        "argv": list(getattr(sys, "orig_argv", sys.argv)),
        "rank": _from_launcher("RANK", -1),
        "world_size": _from_launcher("WORLD_SIZE", 0),
        "local_world_size": _from_launcher("LOCAL_WORLD_SIZE"),
        "late": settings.is_late(),
        "max_restarts": _from_launcher("TORCHELASTIC_MAX_RESTARTS"),
    }


def _from_launcher(name, otherwise=None):
    """A number that the launcher of ranks leaves in the environment of each."""
    text = os.environ.get(name, "")
    return int(text) if text.lstrip("-").isdigit() else otherwise
