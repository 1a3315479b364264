"""What the sitecustomize files share that stand in a training, next on the path after the hook's.

Each of their folders holds a link to this file, so that it is whole by itself, also when it is
copied. No part of yolowatch is imported here: what a training does is seen from its own side.
"""

import importlib.util
import os
import resource
import sys
from pathlib import Path

ULTRALYTICS = "ultralytics.engine.trainer"
CALLBACKS = ("utils.callbacks", "yolov5.utils.callbacks", "yolov9.utils.callbacks")


class Finder:
    def __init__(self, names, watch):
        self.names, self.watch = set(names), watch

    def find_spec(self, name, path=None, target=None):
        if name not in self.names:
            return None
        self.names.remove(name)  # from now on the others find it
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            self.watch(module)

        spec.loader.exec_module = exec_module
        return spec


def after_import(names, watch):
    """Have `watch` called with each module of these names, as soon as it is imported."""
    sys.meta_path.insert(0, Finder(names, watch))


def data(name="VmData"):
    """Bytes of the data segment, or what else the kernel tells of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def peak():
    """The largest data segment so far, where all that was mapped since is data."""
    return data("VmPeak") - data("VmSize") + data()


def set_limit(limit_bytes):
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit_bytes), -1))


def lift():
    """Set a limit that binds nothing: under one the data segment is what counts."""
    set_limit(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 9 // 10)
