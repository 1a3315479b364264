"""What people see of the service at one moment: frozen, made whole by the loop, filtered by asker.

None is unknown, and unknown is not zero. Names, paths and sentences are as the trainings said them
and so are hostile: whoever prints them makes them printable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yolowatch.model.forecast import Outlook

STATES = (
    "starting",
    "training",
    "failed",
    "waiting for approval",
    "remediating",
    "finished",
    "stopped",
    "observed only",
)
"""The state of a run in a word or two; "observed only" is a training that no hook reports from."""


OVER = ("finished", "stopped", "failed")
"""The states of a run that has ended; one that has failed may still have to end."""


@dataclass(frozen=True)
class MemoryView:
    """What the allocator says, in bytes."""

    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    peak_bytes: int | None = None
    capacity_bytes: int | None = None
    headroom_bytes: int | None = None


@dataclass(frozen=True)
class IncidentView:
    """What went wrong, and how it ended once it did."""

    id: str
    kind: str
    sentence: str
    outcome: str | None = None


@dataclass(frozen=True)
class PlanView:
    """A plan that waits for approval; `changes` are sentences."""

    id: str
    changes: tuple[str, ...]
    reason: str
    predicted_peak_bytes: int | None = None
    capacity_bytes: int | None = None


@dataclass(frozen=True)
class RunView:
    """One run, as its owner may see it. Epochs are counted from 1, as the trainers print them."""

    run: str
    uid: int
    user: str | None = None
    pid: int | None = None
    trainer: str | None = None
    model: str | None = None
    run_dir: str | None = None
    mode: str = "observe"
    mode_reason: str = ""
    paused: bool = False
    hook: bool = False  # whether a hook is connected
    state: str = "observed only"
    phase: str | None = None
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    batch: int | None = None
    accumulate: int | None = None
    effective_batch: int | None = None
    image_size: int | None = None
    precision: str | None = None
    device: str | None = None
    memory: MemoryView = MemoryView()
    outlook: Outlook | None = None  # the worst that is still to come
    attempt: int = 0
    sentence: str = ""  # the last one said of it
    incidents: tuple[IncidentView, ...] = ()
    plan: PlanView | None = None
    replaced_files: int = 0  # of the user's, that `rollback` would put back
    receipts: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class DeviceView:
    """One GPU, as its driver says."""

    index: int
    name: str | None = None
    total_bytes: int | None = None
    used_bytes: int | None = None
    utilization_ratio: float | None = None
    temperature_celsius: float | None = None


@dataclass(frozen=True)
class FleetView:
    """All runs; `own_uid` is the service's, which may command itself."""

    version: str
    own_uid: int
    mode: str = "recommend"
    paused: bool = False
    runs: tuple[RunView, ...] = ()
    devices: tuple[DeviceView, ...] = ()
    config_path: str | None = None
    config_trouble: str | None = None  # why its last change was not taken
    control_group: str = "yolowatch"
    notes: tuple[str, ...] = field(default=())  # sentences about the service itself
