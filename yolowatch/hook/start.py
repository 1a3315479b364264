"""Installed into an environment as `yolowatch_start`: every Python of it imports this at its start.

Nothing else is loaded before torch is: then the hook, from the folder of this version beside this
file. A process that `yolowatch run` has started brings its own hook. A .pth runs twice in a virtual
environment: the second time finds the first.
"""

import os
import sys


class _Waiting:
    """Finds nothing itself: at the first import of torch it makes room for the hook."""

    def __init__(self, folder):
        self._folder = folder

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        try:
            finder = _arm(self._folder)
        except Exception:  # the boundary: a hook that cannot start must not stop the training
            return None
        return None if finder is None else finder.find_spec(name, path, target)


def begin(name):
    """Wait for torch; `name` is the folder of the hook that was installed last."""
    given = os.environ.get
    if given("YOLOWATCH") == "0" or given("YOLOWATCH_SOCKET"):
        return
    if any(type(finder).__name__ == "_Waiting" for finder in sys.meta_path):
        return
    here = os.path.dirname(os.path.abspath(__file__))
    folder = os.path.join(here, "yolowatch_installed", "hook", name, "yolowatch_hook")
    sys.meta_path.insert(0, _Waiting(folder))


def _arm(folder):
    """Arm the hook; what it has put first on sys.meta_path, None where another hook is there."""
    if "yolowatch_hook" in sys.modules:
        return None
    package = type(sys)("yolowatch_hook")
    package.__path__ = [folder]
    sys.modules["yolowatch_hook"] = package
    from yolowatch_hook import arming, settings

    settings.give({"services": "1"})
    first = sys.meta_path[0]
    arming.arm()
    return sys.meta_path[0] if sys.meta_path[0] is not first else None
