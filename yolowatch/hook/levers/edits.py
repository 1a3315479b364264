"""The typed edits of this attempt, as the launcher put them into the environment.

Values are absolute, so that applying them twice changes nothing.
"""

import json
import os


def from_environment():
    """The edits as a dictionary; empty in an attempt that changes nothing.

    Keys: start ("resume" or "afresh"), run_dir, checkpoint, batch, nbs, weight_decay,
    effective_weight_decay (what the optimizer of the user's run applied), iterations_batch (what
    the user's run counted its optimizer iterations with), validation_batch, freeze, image_size,
    pruning, optimizer_bits, one_gpu and more_gpus (see `opt_in_ultralytics`), and finish_epoch,
    losses, loss_names and rates of an epoch that is to be finished; see `finishing`.
    """
    text = os.environ.get("YOLOWATCH_EDITS")
    return json.loads(text) if text else {}
