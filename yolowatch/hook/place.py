"""Where this process stands in its training: written by the observers, read by everybody else.

Plain attributes without a lock: each is one reference, set by one thread, and a reader that sees a
mixture of two steps is off by one step.
"""


class Place:
    """The phase (one of `wire.PHASES`), epoch, step and shape of the batch; None is unknown.

    `trained_epoch` is the epoch whose training is complete, while no checkpoint has it yet;
    `train_calls` is None in a process that had trained for an unknown time when the hook came;
    `all_saved` says that no epoch has begun since a checkpoint was written: a validation now is the
    final one; `reading` says whether the footprints read the batch that is worked on, which they
    rarely do.
    """

    __slots__ = (
        "phase",
        "epoch",
        "step",
        "batch",
        "height",
        "width",
        "accumulate",
        "boxes",
        "train_calls",
        "trained_epoch",
        "all_saved",
        "reading",
    )

    def __init__(self):
        self.phase = "setup"
        self.epoch = self.batch = self.height = self.width = self.accumulate = self.boxes = None
        self.step = 0
        self.train_calls: int | None = 0
        self.trained_epoch = None
        self.all_saved = self.reading = False

    def another_training(self):
        """A training begins; after some that were not seen begin, it is at least the second."""
        self.train_calls = 2 if self.train_calls is None else self.train_calls + 1
        self.phase = "setup"
        self.step = 0
        self.all_saved = False

    def fields(self):
        """The fields of `wire`'s place."""
        return {
            "phase": self.phase,
            "epoch": self.epoch,
            "step": self.step,
            "batch": self.batch,
            "height": self.height,
            "width": self.width,
            "accumulate": self.accumulate,
            "boxes": self.boxes,
        }


place = Place()
