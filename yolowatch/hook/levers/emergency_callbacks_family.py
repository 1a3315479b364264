"""The emergency checkpoint of YOLOv5, YOLOv9 and what grew out of them, from the loop's variables.

The loop builds the dictionary that it saves itself, out of its local variables: the same is built
here, with the same keys. The learning rates are those that the epoch was trained with: the loop
has stepped its scheduler before it validates, and steps it again when the epoch is finished.
"""

import copy
import datetime
import os
import sys

from ..frames import values_of
from . import emergency

_NEEDED = ("opt", "model", "ema", "optimizer", "best_fitness", "mloss", "lr")


def install(is_loop):
    """Let a failed training be found and saved; `is_loop` tells the code of the loop."""

    def find(frames):
        frame = next((frame for frame in reversed(frames) if is_loop(frame.f_code)), None)
        if frame is None:
            return None
        values = dict(zip(_NEEDED, values_of(frame, *_NEEDED)))
        return _Training(values, frame.f_globals) if values["ema"] is not None else None

    emergency.find_loop.append(find)


class _Training(emergency.Loop):
    def __init__(self, values, program):
        self._values = values
        self._program = program
        self.run_dir = os.path.abspath(str(values["opt"].save_dir))
        self.losses = [float(loss) for loss in values["mloss"]]

    def release(self):
        self._values["optimizer"].zero_grad(set_to_none=True)

    def save(self, file, epoch, complete):
        values = self._values
        if complete:
            for group, rate in zip(values["optimizer"].param_groups, values["lr"]):
                group["lr"] = rate
        model, ema = values["model"], values["ema"]
        saved = {
            "epoch": epoch,
            "best_fitness": values["best_fitness"],
            "model": copy.deepcopy(getattr(model, "module", model)).half(),
            "ema": copy.deepcopy(ema.ema).half(),
            "updates": ema.updates,
            "optimizer": values["optimizer"].state_dict(),
            "opt": vars(values["opt"]),
            "git": self._program.get("GIT_INFO"),
            "date": datetime.datetime.now().isoformat(),
        }
        sys.modules["torch"].save(saved, file)
