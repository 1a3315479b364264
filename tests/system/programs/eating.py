"""A sitecustomize with which cached images, or 32 in a batch, take all the memory there is.

Stands next on the path after the hook's own. EATS says which: from the second epoch on such a batch
of the miniature training fills pages until the kernel ends it. Any other takes nothing, and no
limit is set here.
"""

import os
import sys
import time


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "utils.callbacks":
            return None
        sys.meta_path.remove(self)
        import importlib.util

        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            watch(module.Callbacks)

        spec.loader.exec_module = exec_module
        return spec


def watch(callbacks):
    original = callbacks.run

    def run(self, hook, *args, **kwargs):
        original(self, hook, *args, **kwargs)
        v = sys._getframe(1).f_locals
        if hook != "on_train_batch_start" or v["epoch"] == 0:
            return
        if {"cache": v["opt"].cache == "ram", "batch": v["batch_size"] >= 32}[os.environ["EATS"]]:
            time.sleep(1.5)  # until a window is told
            eaten = []
            while True:
                eaten.append(b"x" * (1 << 20))

    callbacks.run = run


sys.meta_path.insert(0, Finder())
