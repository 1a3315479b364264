"""Finishes an epoch whose training was complete when its validation ran out of memory.

The checkpoint holds everything that the epoch trained. So the resumed trainer begins with that
epoch once more, but without a batch: what follows, validation, row of results, best and last
checkpoint, is the trainer's own code, with the losses and learning rates of the real epoch.

Touches, in this one epoch only: the iteration over the training batches, and the figures of the
epoch's row; `levers.ultralytics` and `levers.callbacks_family` make the trainer begin there.
"""

import functools


class Unfinished:
    """The epoch that is to be finished, if there is one: from the edits of this attempt."""

    def __init__(self, changes):
        self.epoch = changes.get("finish_epoch")
        self.losses = changes.get("losses") or []
        self.loss_names = changes.get("loss_names") or []
        self.rates = changes.get("rates") or []
        self._restore = None

    def begin(self, epoch, loader):
        """If `epoch` is the one: iterations over `loader` end at once, until `end`; whether so."""
        if self.epoch is None or self.epoch != epoch or self._restore is not None:
            return False
        owner = type(loader)
        original = owner.__iter__

        @functools.wraps(original)
        def __iter__(self):
            return iter(()) if self is loader else original(self)

        owner.__iter__ = __iter__
        self._restore = functools.partial(setattr, owner, "__iter__", original)
        return True

    def end(self):
        """Whether it was this epoch that came to its end; from now on all is as it was."""
        if self._restore is None:
            return False
        self._restore()
        self._restore = self.epoch = None
        return True
