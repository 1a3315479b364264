"""The hook's boundary: a failure in here never reaches the training, and never goes unseen.

Every function through which the training process enters the hook is decorated with `entry`. What
it raises is counted, the first text of each place is kept for the daemon, and a hook that keeps
failing switches itself off. KeyboardInterrupt and SystemExit pass: they belong to the training.
"""

import functools

from . import patches

MAX_FAULTS = 100


class Faults:
    """Failures inside the hook so far; `armed` is False once the hook has switched itself off."""

    def __init__(self):
        self.armed = True
        self.count = 0
        self.fresh = []  # (where, text) not yet reported
        self._seen = set()

    def record(self, where, error):
        self.count += 1
        if where not in self._seen:
            self._seen.add(where)
            self.fresh.append((where, "%s: %s" % (type(error).__name__, error)))
        if self.count >= MAX_FAULTS and self.armed:
            self.armed = False
            self.fresh.append(
                (where, "the hook switched itself off after %d failures" % self.count)
            )


faults = Faults()
ENTRIES = {}  # name -> the guarded function: every way from the training into the hook


def entry(function):
    """Decorator: calls `function` while the hook is armed; returns None and records if it fails."""
    where = "%s.%s" % (function.__module__.rpartition(".")[2], function.__name__)

    @functools.wraps(function)
    def guarded(*args, **kwargs):
        if not faults.armed:
            return None
        try:
            return function(*args, **kwargs)
        except Exception as error:  # the boundary: nothing of ours may reach the training
            faults.record(where, error)
            return None

    ENTRIES[where] = guarded
    return guarded


def around(owner, name, before=None, after=None, failed=None):
    """Replace `owner.name`, a function of a class or module, by one that reports to guarded
    callbacks.

    `before(*args, **kwargs)`, `after(result, *args, **kwargs)` and `failed(error, *args)` see the
    call; they can neither change its result nor stop it. Does nothing where there is no such name.
    """
    original = getattr(owner, name, None)
    if original is None:
        return

    @functools.wraps(original)
    def announced(*args, **kwargs):  # nothing else is to be seen: some are called in every step
        before(*args, **kwargs)
        return original(*args, **kwargs)

    @functools.wraps(original)
    def wrapper(*args, **kwargs):
        if before is not None:
            before(*args, **kwargs)
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            if failed is not None:
                failed(error, *args)
            raise
        if after is not None:
            after(result, *args, **kwargs)
        return result

    patches.put(owner, name, announced if after is None and failed is None else wrapper)
