"""How much memory and time a simulated training really takes. The planner never sees this.

The law is not the planner's: beside a part that grows with the pixels of a batch there are a
workspace that grows in steps of two, boxes whose assignment grows faster than their number, a
spike of the first batch, noise in every batch and memory that is lost in pieces. Frozen before
anything was tuned to it. Where the figures come from is said beside each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MIB, GIB = 1 << 20, 1 << 30
CONTEXT_BYTES = 450 * MIB  # the driver's own, on top of what torch holds
# Networks: parameters in millions while training, and the predicted peak in MiB at 640 px with 16
# images, in mixed precision (facts of the estimator; the published sizes of the networks).
NETWORKS = {
    "yolov5n": ("yolov5", 1.9, 1397),
    "yolov5s": ("yolov5", 7.2, 2642),
    "yolov5m": ("yolov5", 21.2, 4935),
    "yolov5l": ("yolov5", 46.5, 8024),
    "yolov5x": ("yolov5", 86.7, 11967),
    "yolo11n": ("ultralytics", 2.62, 2149),
    "yolo11m": ("ultralytics", 20.11, 7563),
    "gelan-c": ("yolov9", 25.5, 9782),
    "yolov9-s": ("yolov9", 9.8, 6083),
    "yolov9-c": ("yolov9", 51.18, 17152),
    "yolov9-e": ("yolov9", 69.53, 21280),
}
# A box takes 1.06 to 1.09 MB of an image of 640 px in the assigner of ultralytics (6.1, 11.4 and
# 24.5 GB with 50, 300 and 900 boxes an image and 20 images); yolov9's makes an integer of 8 bytes
# more for each class. YOLOv5 has no such table.
BOX_BYTES_PER_PIXEL = {"ultralytics": 2.6, "yolov9": 3.4, "yolov5": 0.0}
BOX_EXPONENT = 1.06  # faster than their number
# What a validation batch takes of a training batch's slope: nothing is kept for a backward pass;
# yolov9 computes its loss there as well (7.3 GB before the first validation, 13.4 ever after).
VALIDATION_SHARE = {"ultralytics": (0.15, 0.40), "yolov9": (0.45, 0.90), "yolov5": (0.15, 0.40)}
CHECKPOINTED = (0.50, 0.63)  # of the peak, measured on three small networks
SINGLE_PRECISION = 1.75  # of the peak in mixed precision: 14104 against 7751 MiB, yolov9-c
RESTART_SECONDS = 45.0
SECONDS_PER_MEGAPIXEL = 0.004  # and per million parameters to the power of 0.6: small part of all
OVERHEAD = 0.10  # of a step of 16 images at 640 px that does not depend on the batch
STANDS_FOR = 100  # a simulated batch is so many of its kind


@dataclass(frozen=True)
class Truth:
    """What one training's memory does."""

    parameter_bytes: float
    per_pixel: float  # bytes, in the precision that it began with
    state_ratio: float  # of the optimizer, in parameters
    box_bytes: float
    validation_share: float
    workspace: float  # bytes per pixel of the next power of two
    noise: float
    spike: float  # of the first batch
    pieces: float  # of the growth that is lost in pieces, at most
    checkpointed: float
    seconds_per_pixel: float


@dataclass(frozen=True)
class Setting:
    """What a training is configured to do at one moment."""

    batch: int
    nbs: int
    size: int
    ratio: float  # of the range of sizes
    validation_batch: int
    amp: bool = True  # whether it is in the precision that it began with, or in a smaller one
    checkpointing: bool = False
    expandable: bool = False

    @property
    def accumulate(self) -> int:
        return max(round(self.nbs / self.batch), 1)

    @property
    def sizes(self) -> tuple[int, int]:
        least = max(int(self.size * (1 - self.ratio)), 32) // 32 * 32
        return least, (int(self.size * (1 + self.ratio)) + 31) // 32 * 32


@dataclass(frozen=True)
class Taken:
    """One batch: bytes in use before it, at the end of its forward pass, and at its peak;
    `reserved` is what the device must have for that.
    """

    base: float
    held: float
    peak: float
    reserved: float
    phase: str  # in which the peak lies


def activations(truth: Truth, setting: Setting) -> float:
    """Bytes a pixel."""
    part = truth.checkpointed if setting.checkpointing else 1.0
    return truth.per_pixel * part * (1.0 if setting.amp else SINGLE_PRECISION)


def training_batch(
    truth: Truth,
    setting: Setting,
    *,
    pixels: int,
    side: int,
    most_boxes: int,
    images: int,
    stepped: bool,
    gathered: bool,
    first: bool,
    lost: float,
    luck: float,
) -> Taken:
    """`lost` is how far the memory has fallen into pieces (0 to 1), `luck` a normal deviate;
    `gathered` says that gradients of earlier batches are held.
    """
    weights = truth.parameter_bytes
    base = 2 * weights + (truth.state_ratio * weights if stepped else 0.0)
    base += weights if gathered else 0.0
    acts = activations(truth, setting) * pixels * (1.0 + truth.noise * luck)
    assigned = truth.box_bytes * images * side * side * most_boxes**BOX_EXPONENT
    workspace = truth.workspace * 2.0 ** math.ceil(math.log2(pixels))
    backward = 0.6 * (0.0 if gathered else weights) + workspace
    if first:
        backward += truth.spike * acts
    held = base + 0.8 * acts
    grown = 0.8 * acts + max(assigned, 0.2 * acts + backward)
    phase = "loss" if assigned > 0.2 * acts + backward else "backward"
    pieces = 0.2 if setting.expandable else 1.0
    reserved = base + grown * (1.0 + truth.pieces * lost * pieces)
    return Taken(base, held, base + grown, reserved, phase)


def optimizer_step(truth: Truth) -> float:
    """Bytes in use at the peak of the first step of the optimizer."""
    return (3.0 + truth.state_ratio + 1.0) * truth.parameter_bytes


def validation_batch(truth: Truth, setting: Setting, pixels: int, luck: float) -> Taken:
    """One batch of the validation."""
    base = (2.0 + truth.state_ratio) * truth.parameter_bytes
    plain = Setting(1, 1, 0, 0.0, 1, setting.amp)
    grown = truth.validation_share * activations(truth, plain) * pixels * (1 + truth.noise * luck)
    return Taken(base, base + grown, base + grown, base + grown, "validation")


def step_seconds(truth: Truth, setting: Setting, pixels: int) -> float:
    """How long so many batches take as one stands for."""
    whole = truth.seconds_per_pixel * 16 * 640**2
    each = OVERHEAD * whole + (1.0 - OVERHEAD) * truth.seconds_per_pixel * pixels
    return STANDS_FOR * each * (1.3 if setting.checkpointing else 1.0)
