"""What the loop knows, as the metrics see it: a frozen snapshot, swapped whole after each cycle."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Mapping

from yolowatch import __version__
from yolowatch.daemon.core import Core
from yolowatch.edges.clock import Clock
from yolowatch.edges.listener import Listener
from yolowatch.metrics import render
from yolowatch.metrics.snapshot import MetricsSnapshot, RunMetrics, SelfMetrics
from yolowatch.metrics.table import INCIDENT_KINDS
from yolowatch.model.verdict import Kind


class Publisher:
    """`count` and `publish` are called by the loop, `page` by the threads of the HTTP server."""

    def __init__(
        self,
        cores: Callable[[], Mapping[str, Core]],
        listener: Listener,
        queued: Callable[[], int],
        clock: Clock,
    ) -> None:
        """`cores` gives each run's core by the run's id, and is called by the loop only."""
        self._cores = cores
        self._listener = listener
        self._queued = queued
        self._clock = clock
        self._cycles = 0
        self._cycle_seconds = 0.0
        self._scrapes = 0
        self._scrape_seconds = 0.0
        self._runs = self._all_runs()
        self.failures: Callable[[], int] = lambda: 0  # scrapes without an answer; set by the server

    def count(self, cycle_seconds: float) -> None:
        """One cycle of the loop is done and took so long."""
        self._cycles += 1
        self._cycle_seconds += cycle_seconds

    def publish(self) -> None:
        """From now on a scrape sees what the loop knows at this moment."""
        self._runs = self._all_runs()

    def page(self, accept: str) -> tuple[str, bytes]:
        """Content type and body of a scrape."""
        began = self._clock.monotonic()
        try:
            return render.page(MetricsSnapshot(self._self_metrics(), self._runs), accept)
        finally:
            self._scrapes += 1
            self._scrape_seconds += self._clock.monotonic() - began

    def _all_runs(self) -> tuple[RunMetrics, ...]:
        return tuple(_run_metrics(run, core) for run, core in self._cores().items())

    def _self_metrics(self) -> SelfMetrics:
        return SelfMetrics(
            version=__version__,
            python=platform.python_version(),
            queue_events=self._queued(),
            queue_dropped=self._listener.dropped,
            messages_rejected=self._listener.refused,
            cycles=self._cycles,
            cycle_seconds=self._cycle_seconds,
            scrapes=self._scrapes,
            scrape_seconds=self._scrape_seconds,
            scrape_errors=self.failures(),
        )


def _run_metrics(run: str, core: Core) -> RunMetrics:
    healing = core.healing
    kinds = Counter(v.kind for v in core.verdicts if v.kind.value in INCIDENT_KINDS)
    receipts = healing.receipts
    return RunMetrics(
        run=run,
        phase=_state(core),
        state=core.state(),
        hook_connected=core.hook_connected,
        attempts=core.attempts,
        incidents=dict(kinds),
        remediations=Counter(use.name for r in receipts for use in r.plan.levers),
        remediation_failures=Counter(
            use.name for r in receipts if r.failed for use in r.plan.levers
        ),
        refusals=healing.refused,
        vaulted=core.vaulted,
        predicted_peak_bytes=receipts[-1].plan.predicted_peak_bytes if receipts else None,
    )


def _state(core: Core) -> str:
    """One of `table.RUN_STATES`."""
    if core.healing.under_way:
        return "remediating"
    if core.alive or not core.verdicts:
        return "training" if core.state().place.step else "starting"
    kind = core.verdicts[-1].kind
    if kind is Kind.FINISHED:
        return "finished"
    if kind is Kind.INTERRUPTED:
        return "stopped"
    return "refused" if core.healing.refused else "failed"
