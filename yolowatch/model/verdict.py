"""What is wrong: the outcome of one attempt, with its evidence and the one sentence a person
needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from yolowatch.model.device import DeviceUser


class Severity(Enum):
    """How soon a person has to look; the value is what an alert rule may read."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Kind(Enum):
    """Outcomes that call for different answers, and what is seen of a run that lives; the value is
    the metric label.
    """

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
    # Memory failures with a cause of their own.
    FRAGMENTATION = "fragmentation"  # enough was held, but not in one piece
    SHARED_MEMORY = "shared-memory"  # /dev/shm, through which workers hand over batches
    PINNED_MEMORY = "pinned-memory"
    RAM_CACHE = "ram-cache"  # each of several ranks caches all images
    NEIGHBOUR = "neighbour"  # another process has the memory that this run needs
    NOT_BACK = "memory-not-back"  # right after a resume: the old process still had it
    FREE_MEMORY = "free-memory"  # it failed although more than was asked for was free
    # Failures that only look like one.
    LIBRARY = "library"  # cuDNN, cuBLAS or NCCL failed, and memory was not seen to be short
    DEVICE_FAULT = "device-fault"  # illegal access, device-side assert, XID
    RANK_LOST = "rank-lost"  # an echo of a rank that is gone and said nothing
    # Seen of a run that lives.
    NEAR_OOM = "near-oom"
    THRASHING = "thrashing"  # allocations succeed only after cached memory was given back
    LEAK = "leak"  # what is in use between two batches grows with every epoch
    DENSE_BATCHES = "dense-batches"  # only the peak grows, with the number of boxes
    WEDGED_RANK = "wedged-rank"
    HOST_LEAK = "host-leak"

    @property
    def is_oom(self) -> bool:
        """Whether a smaller footprint is an answer to it."""
        device = (Kind.CUDA_OOM, Kind.CPU_OOM, Kind.FRAGMENTATION, Kind.FORESEEN)
        return self in device or self.is_host

    @property
    def is_host(self) -> bool:
        """Whether it is the host's memory that was short, of which the batch is no part."""
        return self in (Kind.HOST_OOM, Kind.SHARED_MEMORY, Kind.PINNED_MEMORY, Kind.RAM_CACHE)

    @property
    def is_waited_out(self) -> bool:
        """Whether the answer is the same configuration once more, when there is room for it."""
        return self in (Kind.NEIGHBOUR, Kind.NOT_BACK)

    @property
    def is_answered(self) -> bool:
        """Whether an attempt that ended so gets a plan, or a refusal with its reason."""
        alerts = (Kind.HANDLED_OOM, Kind.FREE_MEMORY, Kind.LIBRARY, Kind.DEVICE_FAULT)
        return self.is_oom or self.is_waited_out or self in (*alerts, Kind.RANK_LOST)

    @property
    def is_incident(self) -> bool:
        """Whether it is counted as something that went wrong."""
        well = (Kind.FINISHED, Kind.INTERRUPTED, Kind.OBSERVED)
        return self not in well

    @property
    def severity(self) -> Severity:
        """How soon a person has to look, before anything is done about it."""
        if self in _CRITICAL:
            return Severity.CRITICAL
        return Severity.WARNING if self.is_incident and self not in _INFO else Severity.INFO


# Nothing answers these by itself: a person is needed.
_CRITICAL = (Kind.FREE_MEMORY, Kind.LIBRARY, Kind.DEVICE_FAULT, Kind.RANK_LOST, Kind.WEDGED_RANK)
_INFO = (Kind.DENSE_BATCHES, Kind.HANDLED_OOM, Kind.FORESEEN)


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
    neighbours: tuple[DeviceUser, ...] = ()
    """Who else held memory of the device, where that is the cause."""
    device_index: int | None = None
    """The device in the driver's order, where the driver told."""

    @property
    def severity(self) -> Severity:
        return self.kind.severity
