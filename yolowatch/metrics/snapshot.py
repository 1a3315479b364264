"""What is exported at one moment: frozen, made of the model's nouns, swapped whole.

The core makes one and puts it where a scrape finds it, so that a scrape takes no lock and sees no
half of a change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from yolowatch.model.run import RunState
from yolowatch.model.verdict import Kind


@dataclass(frozen=True)
class RunMetrics:
    """One run. `phase` is one of `table.RUN_STATES`; `state` is that of its present attempt.

    The mappings count since the supervisor began; what they lack is 0, because whoever counts
    knows that it did not happen. `hook_connected` None is unknown.
    """

    run: str
    phase: str
    state: RunState
    hook_connected: bool | None = None
    attempts: int = 0
    incidents: Mapping[Kind, int] = field(default_factory=dict)
    remediations: Mapping[str, int] = field(default_factory=dict)
    remediation_failures: Mapping[str, int] = field(default_factory=dict)
    refusals: int = 0
    vaulted: int = 0
    predicted_peak_bytes: int | None = None


@dataclass(frozen=True)
class SelfMetrics:
    """The supervisor itself; times in seconds, summed over all cycles and scrapes."""

    version: str
    python: str
    queue_events: int | None = None
    queue_dropped: int = 0
    messages_rejected: int = 0
    cycles: int = 0
    cycle_seconds: float = 0.0
    scrapes: int = 0
    scrape_seconds: float = 0.0
    scrape_errors: int = 0


@dataclass(frozen=True)
class MetricsSnapshot:
    supervisor: SelfMetrics
    runs: tuple[RunMetrics, ...] = ()
