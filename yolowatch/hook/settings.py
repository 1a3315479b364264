"""What the hook was told: by whoever attached it, else by the environment of the process.

An attached hook puts nothing into the environment: writing it while other threads read it is not
safe, and processes that the training starts would inherit it.
"""

import os

_given = {}


def give(settings):
    """Take these settings before those of the environment; None stands for none."""
    _given.update((name, value) for name, value in settings.items() if value is not None)


def value(name, otherwise=None):
    """The setting of this name, text as in an environment."""
    return _given.get(name, os.environ.get(name, otherwise))


def is_late():
    """Whether the hook came into a process that was running already."""
    return bool(_given.get("late"))


def forget():
    """What was given is given no more."""
    _given.clear()
