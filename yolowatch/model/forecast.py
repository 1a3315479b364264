"""What is forecast for the attempt that runs: one frozen noun that decisions, views and metrics
share.

It says nothing of how it was found; that is `decide`'s. None is unknown, and unknown is not zero.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outlook:
    """The highest peak that is still to come, in bytes, and in which phase of the training.

    `phase` is one of the wire's phases, or a few words for a moment within one. `point_bytes` is
    what is expected, `bound_bytes` what is exceeded in one case of a hundred; `probability` is that
    of a lack of memory, from 0 to 1, before the run ends as it is configured now.
    """

    phase: str
    point_bytes: int | None = None
    bound_bytes: int | None = None
    probability: float | None = None
    capacity_bytes: int | None = None
    from_step: int | None = None
    """The training batch of the attempt, counted from 0, from which on it may come."""


@dataclass(frozen=True)
class Forecast:
    """All that is still to come of one attempt; `outlooks` the most probable failure first.

    `notes` say on what it rests, or why nothing is said.
    """

    outlooks: tuple[Outlook, ...] = ()
    notes: tuple[str, ...] = ()
    later: Outlook | None = None  # what a first save loads on a CPU, for which there is no lever

    @property
    def worst(self) -> Outlook | None:
        """The one to tell first: the most probable failure, then the highest peak."""
        return self.outlooks[0] if self.outlooks else None


@dataclass(frozen=True)
class LawKey:
    """All that the memory of a batch depends on: the same key, the same law."""

    trainer: str
    model: str
    classes: int
    optimizer: str
    precision: str
    image_size: int
    torch: str
    device: str  # the GPU's name, or "cpu"
    parameter_bytes: int


@dataclass(frozen=True)
class Lesson:
    """What earlier runs with one key taught: bytes a pixel of a batch, and a fixed part."""

    training_bytes_per_pixel: float
    training_fixed_bytes: float = 0.0
    validation_bytes_per_pixel: float | None = None
    runs: int = 1
