"""YOLOv9: `train.py`, `train_dual.py` and `train_triple.py`, in the repository or a package."""

from yolowatch.trainers.opt_yaml import (
    ADDS_TO_RESULTS,
    CONFIGURATIONS,
    fresh_command,
    is_command,
    resume_command,
    rewrite,
    scaled_weight_decay,
    trim_results,
)

NAME = "yolov9"

__all__ = [
    "ADDS_TO_RESULTS",
    "CONFIGURATIONS",
    "NAME",
    "fresh_command",
    "is_command",
    "resume_command",
    "rewrite",
    "scaled_weight_decay",
    "trim_results",
]
