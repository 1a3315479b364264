"""The levers that are never used unless the policy file names them, and those that nobody has.

They stand apart from `plan.COSTS`, so that what is in force by default cannot grow by accident.
"""

from __future__ import annotations

from yolowatch.model.plan import Cost, Edits
from yolowatch.model.run import RunSpec

OPT_IN = {
    "one gpu": Cost.COMPENSATED,
    "more gpus": Cost.COMPENSATED,
    "8-bit optimizer": Cost.ALTERS_RESULT,
    "image size": Cost.ALTERS_RESULT,
    "freeze": Cost.ALTERS_RESULT,
    "pruning": Cost.ALTERS_RESULT,
}
"""What each costs the science; in the order in which they are weighed."""

SPREADING = (
    "`more gpus` needs Ultralytics by its `yolo` command, on one CUDA device and with an even "
    "batch; devices that are all alike, numbered by no CUDA_VISIBLE_DEVICES or CUDA_DEVICE_ORDER; "
    "and another one on which, as the driver says, nobody computes. A smaller batch comes first: a "
    "policy that keeps the batch leaves `batch` out. Each device has the gradients once more."
)
"""When a training is spread over idle devices, for people to read."""

NEVER = {
    "model parallelism": "these trainers hold one whole replica of the model on each device, and "
    "splitting it would need another model; name `image size` or `pruning` instead",
}
"""What can be asked for and is refused always, with the reason and the cure."""


def opt_in_notes(user: RunSpec, edits: Edits) -> list[str]:
    """What these levers do to the science, in sentences."""
    notes = []
    if edits.one_gpu is not None:
        notes.append(
            f"One device trains alone what {edits.one_gpu} shared: the effective batch is the "
            "same, the images come in another order, and it takes longer."
        )
    if edits.more_gpus is not None:
        notes.append(
            f"{len(edits.more_gpus)} devices share each batch, which one trained alone: the "
            "effective batch is the same, the images come in another order, and BatchNorm computes "
            "its statistics over each device's share."
        )
    if edits.freeze is not None:
        notes.append(
            f"From now on the first {edits.freeze} layers are not trained any more: this alters "
            "the result."
        )
    if edits.image_size is not None:
        notes.append(
            f"From now on images are {edits.image_size} px instead of {user.image_size}, in "
            "validation too: this alters the result, and its metrics do not compare with those of "
            "the epochs before."
        )
    if edits.pruning is not None:
        notes.append(
            f"Up to {edits.pruning:.0%} of the channels of the layers that allow it were taken "
            "away, by the size of their weights: it is another, smaller model, and this alters "
            "the result. Its optimizer began with an empty state and its EMA with the pruned "
            "weights. Only yolowatch resumes its checkpoints: the trainer alone would build the "
            "whole model anew."
        )
    if edits.optimizer_bits is not None:
        notes.append(
            f"The optimizer keeps its state in {edits.optimizer_bits} bits, which is rounded in "
            "every step, SGD without Nesterov's look-ahead: this alters the result. Its state "
            "begins empty at every restart, because the trainer's checkpoints do not hold it "
            "exactly. Only yolowatch resumes its checkpoints."
        )
    return notes
