"""Where a daemon may listen.

A launcher or whoever attaches names one address. A hook that was installed into an environment
looks where services listen; the daemon's own `edges/statedir.py` knows the same places.
"""

import os

from . import settings

SYSTEM = "/run/yolowatch"
NAME = "hook.sock"


def known():
    """Paths of sockets, those to be tried first before the others; none where nothing is told."""
    told = settings.value("YOLOWATCH_SOCKET")
    if told:
        return [told]
    if not settings.value("services"):
        return []
    return [os.path.join(folder, NAME) for folder in service_directories()]


def service_directories():
    """Of the system's service and of the user's own."""
    folders = [SYSTEM]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not os.path.isabs(runtime):
        runtime = "/run/user/%d" % os.geteuid()
    if os.path.isdir(runtime):
        return folders + [os.path.join(runtime, "yolowatch")]
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    return folders + [os.path.join(state, "yolowatch", "service")]
