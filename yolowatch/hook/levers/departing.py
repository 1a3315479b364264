"""Ends the process at the boundary of an epoch, as ordered, so that nothing is trained twice.

After the epoch's own checkpoint is saved and everybody has heard of it, the training thread leaves
by SystemExit, like a program that ends: handlers at exit run, and a status of its own says that
the training is not done. An epoch that is the last ends the training as it would have.

Touches: of an Ultralytics trainer that saves nothing, that it saves this epoch.
"""

from ..agent import agent

STATUS = 75  # what sendmail and others call a temporary failure: begin again later


class _Departure:
    """`wanted` since an order came, `due` once the epoch is saved."""

    __slots__ = ("wanted", "due")

    def __init__(self):
        self.wanted = self.due = False


departure = _Departure()


def order(_value=None):
    """Leave at the end of this epoch."""
    departure.wanted = True


def none():
    """There is no training that could end."""
    departure.wanted = departure.due = False


def saved(epoch, final):
    """The checkpoint of an epoch is complete; `final` says that the training ends with it."""
    if not departure.wanted or final:
        return
    agent.flush()
    agent.tell_at_any_cost("left", epoch=epoch)
    departure.due = True


def depart():
    """Called outside every guard, when all others have heard of the checkpoint."""
    departure.wanted = departure.due = False
    raise SystemExit(STATUS)
