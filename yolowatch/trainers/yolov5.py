"""YOLOv5: `train.py` in the repository, `python -m yolov5.train` and `yolov5 train` too."""

from yolowatch.trainers.opt_yaml import (
    ADDS_TO_RESULTS,
    CONFIGURATIONS,
    LEVERS,
    REFUSED,
    RELEASES,
    fresh_command,
    is_command,
    resume_command,
    rewrite,
    scaled_weight_decay,
    trim_results,
    validation_command,
)

NAME = "yolov5"

__all__ = [
    "ADDS_TO_RESULTS",
    "CONFIGURATIONS",
    "LEVERS",
    "NAME",
    "REFUSED",
    "RELEASES",
    "fresh_command",
    "is_command",
    "resume_command",
    "rewrite",
    "scaled_weight_decay",
    "trim_results",
    "validation_command",
]
