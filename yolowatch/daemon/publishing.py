"""What the loop knows, as the metrics see it: a frozen snapshot, swapped whole after each cycle.

A scrape is answered from the snapshot. Many that ask at once are given one answer, which is made
once: it is the costly part. Whoever finds one that is only seconds old gets it, and it is made anew
beside; else the thread that asked makes it. Runs that are over leave after a while, those
that need a person later; one whose directory somebody trains in again leaves at once.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Mapping
from functools import partial

from yolowatch import __version__
from yolowatch.daemon import threads
from yolowatch.daemon.exporting import Watched, run_metrics
from yolowatch.daemon.ledger import Ledger
from yolowatch.daemon.observing import Observers
from yolowatch.edges import proc
from yolowatch.edges.clock import Clock
from yolowatch.edges.listener import Listener
from yolowatch.metrics import render
from yolowatch.metrics.reading import Reading
from yolowatch.metrics.snapshot import MetricsSnapshot, RunMetrics, SelfMetrics
from yolowatch.model.push import Pushes

_FRESH_SECONDS = 1.0  # for so long one answer is given to all who ask
_STALE_SECONDS = 5.0  # and for so long while another is made
_MOST_PAGES = 8
_KEPT_SECONDS = 3600.0  # a run that is over and needs nobody
_KEPT_FAILED_SECONDS = 24 * 3600.0


class Publisher:
    """`count` and `publish` are called by the loop, `page` by the threads of the HTTP server,
    `readings` by whoever pushes.
    """

    def __init__(
        self,
        runs: Callable[[], Mapping[str, Watched]],
        listener: Listener,
        queued: Callable[[], int],
        clock: Clock,
        observers: Observers,
    ) -> None:
        """`runs` gives each run by its id, the oldest first, and is called by the loop only."""
        self._watched = runs
        self._listener, self._queued, self._clock = listener, queued, clock
        self._heartbeats, self._devices = observers.heartbeats, observers.devices
        self._hosts = observers.hosts
        self.started_at = clock.wall()
        self._ledgers: dict[str, Ledger] = {}
        self._lock, self._making = threading.Lock(), threading.Lock()
        self._pages: dict[str, tuple[float, render.Page]] = {}
        self._cycles = self._scrapes = self._dropped = 0
        self._cycle_seconds = self._scrape_seconds = 0.0
        self._runs: tuple[RunMetrics, ...] = ()
        self.failures: Callable[[], int] = lambda: 0  # scrapes without an answer; set by the server
        self.pushes: Callable[[], Pushes] = Pushes  # set by whoever pushes
        self.publish()

    def count(self, cycle_seconds: float) -> None:
        """One cycle of the loop is done and took so long."""
        self._cycles += 1
        self._cycle_seconds += cycle_seconds
        self._heartbeats.beat("core")

    def publish(self) -> None:
        """From now on a scrape sees what the loop knows at this moment."""
        now, wall, watched = self._clock.monotonic(), self._clock.wall(), self._watched()
        self._ledgers = {run: self._ledgers.get(run) or Ledger() for run in watched}
        living, ended = [], []
        for run, each in watched.items():
            state, ledger = each.core.state(), self._ledgers[run]
            ledger.note(each.core, state, now, wall)
            metrics = run_metrics(run, each, state, ledger, now)
            if ledger.over_at is None:
                living.append(metrics)
            elif now - ledger.over_at < _kept_seconds(metrics):
                ended.append(metrics)
        self._runs = (*living, *_not_taken_up(ended, living))
        processes = {run: each.core.process for run, each in watched.items() if each.core.alive}
        self._hosts.watched = {run: key for run, key in processes.items() if key is not None}

    def page(self, accept: str) -> tuple[str, bytes]:
        """Content type and body of a scrape."""
        began = self._clock.monotonic()
        try:
            page = self._page(accept)
        finally:
            with self._lock:
                self._scrapes += 1
                self._scrape_seconds += self._clock.monotonic() - began
        return page.content_type, page.body

    def readings(self) -> list[Reading]:
        """What a scrape would find now, within the same bound."""
        found, dropped = render.bounded(self._snapshot(), render.MOST_SERIES)
        self._leave_out(dropped)
        return found

    def _page(self, accept: str) -> render.Page:
        wanted = render.content_type(accept)
        found = self._made(wanted, _FRESH_SECONDS)
        if found is not None:
            return found
        found = self._made(wanted, _STALE_SECONDS)
        if found is not None:
            if self._making.acquire(blocking=False):
                threads.start("renewal", partial(self._renew, wanted, accept), _untold)
            return found
        with self._making:
            return self._made(wanted, _FRESH_SECONDS) or self._make(wanted, accept)

    def _renew(self, wanted: str, accept: str) -> None:
        """Make the answer anew, for whoever asks next; the body of a thread."""
        try:
            self._make(wanted, accept)
        finally:
            self._making.release()

    def _made(self, wanted: str, seconds: float) -> render.Page | None:
        """The last answer in this format, if it is not older than that."""
        made_at, page = self._pages.get(wanted, (0.0, None))
        return page if self._clock.monotonic() - made_at < seconds else None

    def _make(self, wanted: str, accept: str) -> render.Page:
        now = self._clock.monotonic()
        page = render.page(self._snapshot(), accept)
        self._leave_out(page.dropped)
        if len(self._pages) >= _MOST_PAGES:  # a client may ask for any version of a format
            self._pages.clear()
        self._pages[wanted] = now, page
        return page

    def _leave_out(self, series: int) -> None:
        with self._lock:
            self._dropped += series

    def _snapshot(self) -> MetricsSnapshot:
        return MetricsSnapshot(
            self._self_metrics(),
            self._runs,
            self._devices.readings(),
            self._devices.answers,
            self._hosts.machine,
        )

    def _self_metrics(self) -> SelfMetrics:
        return SelfMetrics(
            version=__version__,
            python=platform.python_version(),
            started_at=self.started_at,
            resident_bytes=proc.resident_bytes(os.getpid()),
            connections=self._listener.connections,
            queue_events=self._queued(),
            queue_dropped=self._listener.dropped,
            messages_rejected=self._listener.refused,
            heartbeats=self._heartbeats.seen,
            cycles=self._cycles,
            cycle_seconds=self._cycle_seconds,
            scrapes=self._scrapes,
            scrape_seconds=self._scrape_seconds,
            scrape_errors=self.failures(),
            series_dropped=self._dropped,
            pushes=self.pushes(),
        )


def _kept_seconds(run: RunMetrics) -> float:
    return _KEPT_FAILED_SECONDS if run.phase in ("failed", "refused") else _KEPT_SECONDS


def _not_taken_up(ended: list[RunMetrics], living: list[RunMetrics]) -> list[RunMetrics]:
    """The newest first, without those in whose directory a later run trains or has trained."""
    taken = {_directory(run) for run in living} - {None}
    kept = []
    for run in reversed(ended):
        directory = _directory(run)
        if directory is None or directory not in taken:
            kept.append(run)
        taken.add(directory)
    return kept


def _directory(run: RunMetrics) -> str | None:
    return run.state.spec.run_dir if run.state.spec is not None else None


def _untold(_name: str, _trace: str) -> None:
    """What cannot be made is told to the one who has to wait for it."""
