"""What is wrong: the outcome of one attempt, with its evidence and the one sentence a person
needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """Outcomes that call for different answers; the value is the metric label."""

    FINISHED = "finished"
    CUDA_OOM = "cuda-oom"
    CPU_OOM = "cpu-oom"  # the CPU allocator failed: a device like any other
    HOST_OOM = "host-oom"  # the host's memory, of which the batch is no part
    FORESEEN = "foreseen-oom"  # it is to come; the training goes on, or has left before it
    HANDLED_OOM = "handled-oom"  # the program caught the failure and decided for itself
    INTERRUPTED = "interrupted"
    KILLED = "killed"  # by a signal that nobody here sent; the cause is unknown
    ERROR = "error"  # an exception that is no memory failure
    OBSERVED = "observed"  # ended without a word: no hook ever spoke, or nothing is known

    @property
    def is_oom(self) -> bool:
        """Whether a smaller footprint is an answer to it."""
        return self in (Kind.CUDA_OOM, Kind.CPU_OOM, Kind.HOST_OOM, Kind.FORESEEN)


class Where(Enum):
    """In which part of the training a memory failure struck."""

    SETUP = "setup"
    STEP = "step"  # forward, loss or backward
    MULTI_SCALE_PEAK = "multi-scale-peak"  # a step at one of the largest sizes of the range
    FIRST_OPTIMIZER_STEP = "first-optimizer-step"  # the optimizer's state is allocated there
    OPTIMIZER = "optimizer"
    VALIDATION = "validation"
    SAVE = "save"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Verdict:
    """`evidence` are short facts, each measured or quoted, in the order a reader needs them."""

    kind: Kind
    sentence: str
    where: Where = Where.UNKNOWN
    evidence: tuple[str, ...] = ()
    capacity_bytes: int | None = None
    """What this process could have had, read at the failure where the text says it."""
