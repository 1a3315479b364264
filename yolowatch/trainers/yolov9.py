"""YOLOv9: `train.py`, `train_dual.py` and `train_triple.py`, in the repository or a package."""

from yolowatch.trainers import opt_yaml
from yolowatch.trainers.opt_yaml import (
    ADDS_TO_RESULTS,
    CONFIGURATIONS,
    RELEASES,
    fresh_command,
    is_command,
    resume_command,
    rewrite,
    scaled_weight_decay,
    trim_results,
    validation_command,
)

NAME = "yolov9"
REFUSED = opt_yaml.REFUSED | {"amp": "its trainer always uses mixed precision where the device can"}
LEVERS = {lever: means for lever, means in opt_yaml.LEVERS.items() if lever not in REFUSED}

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
