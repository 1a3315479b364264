"""The simulated trainings, drawn with a seed: what is trained, on which card, beside whom.

A case knows everything; strategies are shown what they could see. Sizes, batches and cards are
those that people use; what is drawn beside them is listed in `nature`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from bench.world.nature import (
    BOX_BYTES_PER_PIXEL,
    CHECKPOINTED,
    CONTEXT_BYTES,
    GIB,
    MIB,
    NETWORKS,
    SECONDS_PER_MEGAPIXEL,
    VALIDATION_SHARE,
    Setting,
    Truth,
)

CARDS_GIB = (6, 8, 11, 12, 16, 24, 40, 48)
BATCHES, SIZES = (4, 8, 16, 32, 64), (416, 640, 640, 640, 1280)
NBS, EPOCHS, STEPS = 64, 6, 32  # batches of the user's an epoch
MOSAIC_UNTIL = 5


@dataclass(frozen=True)
class Neighbour:
    """Somebody else's bytes on the device, for a part of the training (in epochs)."""

    bytes: float
    begins: float
    ends: float


@dataclass(frozen=True)
class Case:
    """One training."""

    number: int
    network: str
    trainer: str
    truth: Truth
    setting: Setting
    capacity: float
    optimizer: str
    crowd: tuple[float, float]  # of an image's boxes: the middle, and how they spread (lognormal)
    most_boxes: int  # of any image of the data set
    neighbour: Neighbour | None

    @property
    def effective_batch(self) -> int:
        return self.setting.batch * self.setting.accumulate

    @property
    def images(self) -> int:
        """Of one epoch, as far as it is simulated."""
        return STEPS * self.setting.batch

    @property
    def kind(self) -> str:
        """The most particular thing about it."""
        if self.neighbour is not None:
            return "neighbour"
        if self.most_boxes > 250 and self.truth.box_bytes:
            return "dense"
        return "multi-scale" if self.setting.ratio else "plain"


def draw(number: int) -> Case:
    """The case of this number, always the same."""
    rng = random.Random(f"yolowatch world 1, case {number}")
    network = rng.choice(tuple(NETWORKS))
    trainer, millions, peak16 = NETWORKS[network]
    weights = millions * 4e6
    state_ratio, optimizer = rng.choice(((1.0, "SGD"), (1.0, "SGD"), (2.0, "AdamW")))
    per_pixel = (peak16 * MIB - 4.0 * weights) / (16 * 640**2)
    truth = Truth(
        parameter_bytes=weights,
        per_pixel=per_pixel * rng.uniform(0.9, 1.1),
        state_ratio=state_ratio,
        box_bytes=BOX_BYTES_PER_PIXEL[trainer] * rng.uniform(0.85, 1.15),
        validation_share=rng.uniform(*VALIDATION_SHARE[trainer]),
        workspace=per_pixel * rng.uniform(0.0, 0.06),
        noise=rng.uniform(0.002, 0.015),
        spike=rng.choice((0.0, 0.0, 0.05, 0.12)),
        pieces=rng.choice((0.01, 0.03, 0.08)),
        checkpointed=rng.uniform(*CHECKPOINTED),
        seconds_per_pixel=SECONDS_PER_MEGAPIXEL * 1e-6 * millions**0.6,
    )
    batch, size = rng.choice(BATCHES), rng.choice(SIZES)
    ratio = rng.choice((0.0, 0.0, 0.5))
    setting = Setting(batch, NBS, size, ratio, 2 * batch)
    capacity = rng.choice(CARDS_GIB) * GIB * rng.uniform(0.97, 1.0) - CONTEXT_BYTES
    middle, spread = rng.choice(((6.0, 0.6), (12.0, 0.8), (40.0, 0.7), (80.0, 0.9)))
    densest = round(middle * 2.718281828 ** (spread * rng.uniform(2.5, 3.5)))
    neighbour = None
    if rng.random() < 0.08:
        begins = rng.uniform(0.5, EPOCHS - 2)
        held = rng.uniform(0.1, 0.5) * capacity
        neighbour = Neighbour(held, begins, begins + rng.uniform(0.2, 1.5))
    return Case(
        number, network, trainer, truth, setting, capacity, optimizer, (middle, spread),
        densest, neighbour,
    )  # fmt: skip
