"""A sitecustomize with which cached images, or 32 in a batch, take all the memory there is.

Stands next on the path after the hook's own. EATS says which: from the second epoch on such a batch
of the miniature training fills pages until the kernel ends it. Any other takes nothing, and no
limit is set here.
"""

import os
import sys
import time

from in_training import after_import


def watch(module):
    original = module.Callbacks.run

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

    module.Callbacks.run = run


after_import(["utils.callbacks"], watch)
