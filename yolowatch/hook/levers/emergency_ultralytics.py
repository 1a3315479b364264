"""The emergency checkpoint of an Ultralytics trainer: its own `save_model`, into another file.

`save_model` would also write best.pt, the periodic checkpoints and last.pt: its `last` is replaced
by the file that is given, its fitness by one that is no best, and the period by none. The table of
results, which it would read with a library of its own, is read here, because that library starts
threads, for which there may be no memory.
"""

import csv
import math
import os

from ..frames import values_of
from ..guard import entry
from . import emergency


@entry
def install(base):
    """Let a failed training of this trainer class be found and saved; before it is wrapped."""
    save_model = base.save_model

    def find(frames):
        for frame in reversed(frames):
            if frame.f_code.co_name == "_do_train":
                trainer = values_of(frame, "self")[0]
                # One that saves in a way of its own is not this trainer any more.
                if isinstance(trainer, base) and type(trainer).save_model is base.save_model:
                    return _Training(save_model, trainer)
        return None

    emergency.find_loop.append(find)


class _Training(emergency.Loop):
    def __init__(self, save_model, trainer):
        self._save_model = save_model
        self._trainer = trainer
        self.run_dir = os.path.abspath(trainer.save_dir)
        losses = trainer.tloss
        if isinstance(losses, dict):
            self.loss_names = [str(name) for name in losses]
            losses = list(losses.values())
        elif losses is not None:
            losses = losses.reshape(-1)
        self.losses = [float(loss) for loss in losses] if losses is not None else []
        self.rates = [float(rate) for rate in (getattr(trainer, "lr", None) or {}).values()]

    def release(self):
        self._trainer.loss = self._trainer.loss_items = self._trainer.tloss = None
        # Nothing is loaded any more; images wait in their buffers.
        self._trainer.train_loader = self._trainer.test_loader = self._trainer.validator = None
        self._trainer.optimizer.zero_grad(set_to_none=True)
        self._trainer.model.zero_grad(set_to_none=True)

    def save(self, file, epoch, _complete):
        trainer = self._trainer
        table = _read_table(trainer.csv)
        trainer.last = _File(file)
        trainer.epoch, trainer.fitness, trainer.save_period = epoch, -math.inf, -1
        trainer.read_results_csv = lambda: table
        self._save_model(trainer)


class _File:
    """What the trainer takes for the path of its last checkpoint."""

    def __init__(self, file):
        self.write_bytes = file.write


def _read_table(path):
    """The results so far, a list of numbers for each column, as the trainer keeps them."""
    try:
        with open(path, newline="") as file:
            rows = list(csv.reader(file, skipinitialspace=True))
        return {
            name.strip(): [float(row[place]) for row in rows[1:]]
            for place, name in enumerate(rows[0])
        }
    except (OSError, ValueError, IndexError):
        return {}
