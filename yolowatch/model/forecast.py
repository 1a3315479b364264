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
