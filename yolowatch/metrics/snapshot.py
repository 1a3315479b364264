"""What is exported at one moment: frozen, made of the model's nouns, swapped whole.

The core makes one and puts it where a scrape finds it, so that a scrape takes no lock and sees no
half of a change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from yolowatch.model.device import DeviceReading
from yolowatch.model.forecast import Outlook
from yolowatch.model.host import HostMemory, RunHost
from yolowatch.model.push import Pushes
from yolowatch.model.run import RunState


@dataclass(frozen=True)
class Spent:
    """What failures have cost a run, and what was trained after them; times the devices."""

    steps_lost: int = 0
    steps_saved: int = 0
    device_seconds_lost: float = 0.0
    device_seconds_saved: float = 0.0


@dataclass(frozen=True)
class RunMetrics:
    """One run. `phase` is one of `table.RUN_STATES`; `state` is that of its present attempt.

    The mappings count since the supervisor began; what they lack is 0, because whoever counts
    knows that it did not happen. `incidents` are by kind, `outcomes` by `table.OUTCOMES`;
    `exemplars` names the newest incident of a kind, a lever or an outcome. `ranks` are the states
    of a run that is made of several processes. Where none of them is `alive`, what the last one
    said of its memory is true no more. `pids` are those of its living processes.
    `progress_at` and `remedied_at` are in seconds since 1970 UTC. None is unknown.
    """

    run: str
    phase: str
    state: RunState
    alive: bool = True
    hook_connected: bool | None = None
    attempts: int = 0
    incidents: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    remediations: Mapping[str, int] = field(default_factory=dict)
    remediation_failures: Mapping[str, int] = field(default_factory=dict)
    live_changes: Mapping[str, int] = field(default_factory=dict)
    exemplars: Mapping[str, str] = field(default_factory=dict)
    refusals: int = 0
    vaulted: int = 0
    predicted_peak_bytes: int | None = None
    ranks: tuple[RunState, ...] = ()
    outlooks: tuple[Outlook, ...] = ()
    host: RunHost = field(default_factory=RunHost)
    spent: Spent = Spent()
    pids: frozenset[int] = frozenset()
    user: str | None = None
    mode: str | None = None
    paused: bool | None = None
    journal_writable: bool | None = None
    progress_at: float | None = None
    remedied_at: float | None = None


@dataclass(frozen=True)
class SelfMetrics:
    """The supervisor itself; durations are summed over all cycles and scrapes, heartbeats and the
    start are in seconds since 1970 UTC.
    """

    version: str
    python: str
    started_at: float | None = None
    resident_bytes: int | None = None
    connections: int | None = None
    queue_events: int | None = None
    queue_dropped: int = 0
    messages_rejected: int = 0
    heartbeats: Mapping[str, float] = field(default_factory=dict)
    cycles: int = 0
    cycle_seconds: float = 0.0
    scrapes: int = 0
    scrape_seconds: float = 0.0
    scrape_errors: int = 0
    series_dropped: int = 0  # until the answer that is being made
    pushes: Pushes = field(default_factory=Pushes)


@dataclass(frozen=True)
class MetricsSnapshot:
    """All of it. `nvml_up` is None on a machine without a driver. Those runs that matter most come
    first: what makes an answer too long is dropped from the end.
    """

    supervisor: SelfMetrics
    runs: tuple[RunMetrics, ...] = ()
    devices: tuple[DeviceReading, ...] = ()
    nvml_up: bool | None = None
    host: HostMemory = field(default_factory=HostMemory)
