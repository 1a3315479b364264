"""What can happen: the frozen events of the core's one bounded queue.

The edges post them and decide nothing. `at` is in seconds of the monotonic clock, read when the
edge noticed; a field that is unknown is None. Order is kept per source: whatever one connection
sent stands between its `HookConnected` and its `HookGone`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from yolowatch.model.adoption import Adoption
from yolowatch.model.control import ControlRequest
from yolowatch.model.device import DeviceReading
from yolowatch.model.host import RunHost
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Edits


@dataclass(frozen=True)
class Started:
    """An attempt's process exists; `edits` is None for the user's own."""

    attempt: int
    process: ProcessKey
    at: float
    edits: Edits | None = None


@dataclass(frozen=True)
class HookConnected:
    """A process of an accepted user opened a connection; the kernel vouches for both.

    `parent` has started it, and `grandparent_pid` that one; None is unknown.
    """

    process: ProcessKey
    uid: int
    connection: int
    parent: ProcessKey | None = None
    grandparent_pid: int | None = None


@dataclass(frozen=True)
class HookMessage:
    """One message that `hook.wire` found well formed; what it says is still the peer's word.

    `earlier` are the windows that the same peer sent just before this one, oldest first, where they
    were read together: near danger there are ten a second.
    """

    connection: int
    process: ProcessKey
    kind: str
    fields: Mapping[str, Any]
    at: float
    earlier: tuple[Mapping[str, Any], ...] = ()

    @property
    def told(self) -> tuple[Mapping[str, Any], ...]:
        """What the peer sent, message by message, oldest first."""
        return (*self.earlier, self.fields)


@dataclass(frozen=True)
class HookGone:
    """The last event of a connection: the process closed it, ended, or was disconnected."""

    connection: int
    process: ProcessKey
    at: float


@dataclass(frozen=True)
class HookRefused:
    """A connection was not accepted or was cut, and why; `pid` is as the kernel says."""

    reason: str
    pid: int | None
    at: float


@dataclass(frozen=True)
class ProcessExited:
    """A launched process was reaped: `status` or `signal` is set, neither where it is unknown.

    `oom_kills` is how many processes of its control group the kernel killed for want of memory
    while it was watched; None where that is unknown.
    """

    process: ProcessKey
    status: int | None
    signal: int | None
    at: float
    oom_kills: int | None = None


@dataclass(frozen=True)
class SignalReceived:
    """The supervisor was signalled; `forward` where the training did not get the signal itself."""

    number: int
    forward: bool
    at: float


@dataclass(frozen=True)
class TrainingSeen:
    """A process without a hook that looks like a training from outside, and as what."""

    process: ProcessKey
    uid: int
    argv: tuple[str, ...]
    sight: str
    at: float


@dataclass(frozen=True)
class AttachEnded:
    """The hook was brought into a process, or not; a sentence says which and why."""

    process: ProcessKey
    sentence: str
    at: float


@dataclass(frozen=True)
class Adopted:
    """Where a training came from; without `adoption` it is only observed, for the `reason`."""

    run: str
    process: ProcessKey
    adoption: Adoption | None
    reason: str | None
    at: float


@dataclass(frozen=True)
class Tick:
    """Time passes."""

    at: float


@dataclass(frozen=True)
class StepDone:
    """One step of a plan was carried out; `result` is what later steps need of it."""

    plan: str
    step: str
    detail: str
    at: float
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StepFailed:
    """One step of a plan could not be carried out; the reason is for people."""

    plan: str
    step: str
    reason: str
    at: float


@dataclass(frozen=True)
class CheckpointVaulted:
    """A copy of a checkpoint was validated and stored; `seconds` is what it took."""

    path: str
    epoch: int
    sha256: str
    copy: str
    bytes: int
    seconds: float
    at: float


@dataclass(frozen=True)
class CheckpointRefused:
    """A checkpoint was not stored, and why: the copies that were there still are."""

    path: str
    reason: str
    at: float


@dataclass(frozen=True)
class ConfigChanged:
    """The configuration's files were read again after a change.

    `documents` are their names and texts in the order in which they count; where one could not be
    read, `trouble` is the sentence and there are none.
    """

    documents: tuple[tuple[str, str], ...]
    trouble: str | None
    at: float


@dataclass(frozen=True)
class ControlReceived:
    """Somebody asks for something through the control socket; the kernel vouches for who."""

    request: ControlRequest
    at: float


@dataclass(frozen=True)
class DevicesSeen:
    """The GPUs of this machine and who uses them; none where the driver cannot tell."""

    devices: tuple[DeviceReading, ...]
    at: float


@dataclass(frozen=True)
class HostSeen:
    """What each run holds of the host's memory, by the run's id."""

    runs: Mapping[str, RunHost]
    at: float


@dataclass(frozen=True)
class BoxesCounted:
    """The boxes of the densest image of a run's data set; None where that is not known."""

    run: str
    most: int | None
    at: float


Event = (
    Started
    | HookConnected
    | HookMessage
    | HookGone
    | HookRefused
    | ProcessExited
    | SignalReceived
    | Tick
    | Adopted
    | TrainingSeen
    | AttachEnded
    | StepDone
    | StepFailed
    | CheckpointVaulted
    | CheckpointRefused
    | ConfigChanged
    | ControlReceived
    | DevicesSeen
    | HostSeen
    | BoxesCounted
)

Post = Callable[[Event], bool]
"""Puts an event into the queue without blocking; False where the queue is full."""
