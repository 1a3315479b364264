"""Observes that any program at all trains: the first optimizer step starts the watching.

A trainer that is known starts it earlier, and ends this: a hook after every optimizer step is for
those programs only of which nothing else is known.
"""

from .. import patches
from ..agent import agent
from ..guard import entry

_registered = []  # what takes the hook away again


@entry
def install():
    """Called right after torch was imported."""
    from torch.optim import optimizer

    register = getattr(optimizer, "register_optimizer_step_post_hook", None)
    if register is not None:
        _registered.append(register(_stepped))
        patches.later(leave)


def leave():
    """A trainer is known. Never from within `_stepped`: torch is going through its hooks then."""
    while _registered:
        _registered.pop().remove()


@entry
def _stepped(*_arguments):
    if not agent.started:
        agent.start()
