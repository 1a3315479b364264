"""What will be done: a `Plan` of typed edits, or a `Refusal`, each with its reason.

The edits are a closed set. Nothing here can express an argument vector, a path outside the run
directory or code, so that whoever carries a plan out cannot be told to do anything else.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from yolowatch.model.thresholds import Thresholds


class Cost(Enum):
    """What a lever costs the science; the value is printed."""

    FREE = "free"
    COMPENSATED = "compensated"
    ALTERS_RESULT = "alters-result"


@dataclass(frozen=True)
class Edits:
    """The configuration that the next attempt is to have; absolute values, None is untouched."""

    batch: int | None = None
    nbs: int | None = None
    weight_decay: float | None = None
    validation_batch: int | None = None
    multi_scale: float | None = None  # the ratio; 0 switches it off
    amp: str | None = None  # "bf16" or "fp16"
    checkpointing: bool | None = None
    expandable_segments: bool | None = None  # of the CUDA allocator
    workers: int | None = None  # processes that load images
    cache: str | None = None  # "disk" or "none"
    pin_memory: bool | None = None
    freeze: int | None = None  # so many of the first layers are not trained any more
    image_size: int | None = None  # pixels of a side
    image_size_before: int | None = None  # the user's own, where it is smaller now
    pruning: float | None = None  # part of the channels that is taken away
    optimizer_bits: int | None = None  # of the optimizer's state: 8
    one_gpu: int | None = None  # so many ranks shared each batch, which now one device trains alone
    more_gpus: tuple[int, ...] | None = None  # numbers of devices that share what one trained alone

    def over(self, earlier: Edits) -> Edits:
        """These edits, and those of an earlier plan that they leave untouched."""
        mine = {name: value for name, value in vars(self).items() if value is not None}
        return replace(earlier, **mine)


@dataclass(frozen=True)
class LeverUse:
    """One lever with what it changes, for people to read."""

    name: str
    cost: Cost
    before: str
    after: str
    why: str


@dataclass(frozen=True)
class Rejected:
    """A configuration that was weighed and not taken."""

    option: str
    reason: str


class Start(Enum):
    """Where the next attempt begins."""

    RESUME = "resume"  # from `resume_epoch`, with the optimizer's state
    AFRESH = "afresh"  # nothing was saved yet: the run directory is used again
    LIVE = "live"  # nowhere: the training was changed while it ran, and went on


@dataclass(frozen=True)
class Room:
    """What a device must have free before the next attempt may start, and how long to wait for it;
    `reason` is what a person reads where it does not come. Only with `proof` a device that cannot
    be read counts as one without room.
    """

    device_index: int  # in the driver's order
    free_bytes: int
    seconds: float
    reason: str
    proof: bool = True
    beside: tuple[int, ...] = ()  # devices that must have as much free, and nobody on them


@dataclass(frozen=True)
class Plan:
    """A remediation: journaled whole before its first effect."""

    incident: str
    attempt: int  # the attempt that it starts
    edits: Edits
    levers: tuple[LeverUse, ...]
    predicted_peak_bytes: int | None
    capacity_bytes: int | None
    margin_ratio: float
    reason: str
    rejected: tuple[Rejected, ...] = ()
    effective_batch: int | None = None
    original: Edits = Edits()  # the user's own values
    ranks: int = 1  # processes that share each batch
    room: Room | None = None  # waited for before the relaunch; without it nothing is started


@dataclass(frozen=True)
class Refusal:
    """A reasoned decision not to act."""

    incident: str
    reason: str
    rejected: tuple[Rejected, ...] = ()
    trained: bool = False  # whether the training itself had come to its end


COSTS = {
    "validation batch": Cost.FREE,
    "allocator": Cost.FREE,
    "cache": Cost.FREE,
    "workers": Cost.FREE,
    "pin memory": Cost.FREE,
    "batch": Cost.COMPENSATED,
    "checkpointing": Cost.COMPENSATED,
    "multi-scale": Cost.ALTERS_RESULT,
    "amp": Cost.ALTERS_RESULT,
}
"""What each lever costs the science."""
LEVERS = tuple(COSTS)
"""Every lever, the cheapest first."""


@dataclass(frozen=True)
class Policy:
    """What the decisions may do; the values that the code does not ask the world for."""

    mode: str = "auto"  # observe, recommend or auto
    margin_ratio: float = 0.05  # of the capacity, kept free by every prediction
    attempts_without_progress: int = 3
    exit_grace_seconds: float = 60.0  # from the last words to SIGTERM
    kill_grace_seconds: float = 10.0  # from SIGTERM to SIGKILL
    memory_wait_seconds: float = 120.0
    keep_checkpoints: int = 2
    vault_gib: float = 20.0  # that its copies of one run may take together
    # What a failing training saves of itself: "never", "complete" for an epoch that only lacks its
    # validation, or "any" for weights in the middle of an epoch as well.
    emergency: str = "complete"
    levers: tuple[str, ...] = LEVERS  # those that may be used; others must be named: `opt_in`
    # After how many training batches at a narrowed range of sizes a wider one may be tried.
    widen_after_batches: int = 200
    # What is foreseen is prevented in the training that runs, where its mode is auto.
    prevention: bool = True
    prevention_cooldown_seconds: float = 5.0  # between two orders of one kind
    leave_probability: float = 0.9  # from which on a training is ended to be started otherwise
    release_cache: bool = False  # what is cached is given back between the phases, if need be
    guarded_start: bool = False  # no size above the image size in the first batches
    rescue: bool = False  # a step or a validation that fails runs again in the same process
    thresholds: Thresholds = field(default_factory=Thresholds)  # of the detectors


GUARDED_BATCHES = 8
"""So long no size above the image size comes, where the start is guarded."""


@dataclass(frozen=True)
class Law:
    """peak = fixed + per_pixel * batch * height * width, for one phase of one run."""

    phase: str
    fixed_bytes: float
    per_pixel_bytes: float
    points: int
    residual_bytes: float = 0.0

    def peak_bytes(self, pixels: int) -> int:
        return round(self.fixed_bytes + self.per_pixel_bytes * pixels)

    def to_json(self) -> dict[str, Any]:
        return {
            "phase": self.phase,
            "fixed_bytes": round(self.fixed_bytes),
            "per_pixel_bytes": round(self.per_pixel_bytes, 4),
            "points": self.points,
            "residual_bytes": round(self.residual_bytes),
        }
