"""A program like `tests/programs/capped.py` whose last.pt is as large as that of a large model.

The file is a whole checkpoint: torch reads what it knows of the archive and passes over the member
that only makes it large. It is written in pieces, so that it costs the process no memory and the
limit stays that of the training.

Usage: python large_checkpoint.py MEGABYTES SECONDS CAPPED ARGUMENTS…   (SECONDS stand for the rest
of a longer epoch: so long after a save the training goes on)
"""

import os
import runpy
import sys
import time
import zipfile

from ultralytics.engine.trainer import BaseTrainer
from ultralytics.utils import callbacks

megabytes, seconds = int(sys.argv[1]), float(sys.argv[2])
save_model = BaseTrainer.save_model


def save_large_model(trainer):
    saved = save_model(trainer)
    piece = os.urandom(1 << 20)
    missing = megabytes * 1_000_000 - trainer.last.stat().st_size
    with zipfile.ZipFile(trainer.last, "a", zipfile.ZIP_STORED) as archive:
        name = archive.namelist()[0].partition("/")[0] + "/padding"
        with archive.open(name, "w", force_zip64=True) as member:
            while missing > 0:
                missing -= member.write(piece[: min(missing, len(piece))])
    return saved


def go_on(trainer):
    if trainer.epoch == trainer.start_epoch:
        time.sleep(seconds)


BaseTrainer.save_model = save_large_model
callbacks.default_callbacks["on_fit_epoch_end"].append(go_on)
sys.argv = sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
