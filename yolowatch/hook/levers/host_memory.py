"""Less of the host's memory: fewer workers, images cached elsewhere, no pinned pages.

Touches, where a plan says so: `workers` and `cache` of the trainer's options, and what the loaders
of Ultralytics are built with. The other trainers read PIN_MEMORY, which the launcher has set. Every
image and every batch is the same as before.
"""

import functools

from ..guard import entry


def change_options(options, changes):
    """Before anything is built from a trainer's options: never more than it was to have."""
    workers, cache = changes.get("workers"), changes.get("cache")
    if workers is not None:
        options.workers = min(options.workers, workers)
    if cache is not None:
        options.cache = "disk" if cache == "disk" else False


def unpin(loader, is_ours):
    """Let a class of loaders pin no memory, for the training that is meant."""
    original = loader.__init__

    @functools.wraps(original)
    def __init__(self, *args, **kwargs):
        if "pin_memory" in kwargs and asked():
            kwargs["pin_memory"] = False
        original(self, *args, **kwargs)

    @entry
    def asked():
        return is_ours()

    loader.__init__ = __init__


def describe(options, loader):
    """The fields of `wire`'s run; `loader` is that of the training, None before there is one."""
    cache = options.cache
    if isinstance(cache, str):
        # YOLOv5's "val" caches the images of validation, in memory.
        cache = cache.lower() if cache.lower() in ("disk", "none", "") else "ram"
    elif cache is not None:
        cache = "ram" if cache else "none"
    workers = getattr(loader, "num_workers", None)
    return {
        "workers": getattr(options, "workers", None) if workers is None else workers,
        "cache": cache or "none",
        "pin_memory": getattr(loader, "pin_memory", None),
    }
