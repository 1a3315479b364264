"""Pushes the metrics by OTLP where that is configured, in a thread that nobody waits for.

What is configured is asked anew each few seconds, so that a changed configuration counts at once.
Where nothing is pushed no thread is started and no library imported. A push that failed is not
kept: the next one tells all that it would have told, since counters are told as sums.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

from yolowatch import __version__
from yolowatch.daemon import threads
from yolowatch.daemon.publishing import Publisher
from yolowatch.daemon.serving import host_name
from yolowatch.edges.clock import Clock
from yolowatch.edges.names import user_name
from yolowatch.edges.otlp import Sender, host_of
from yolowatch.metrics.otlp import Counted, request
from yolowatch.model.push import Answer, Otlp, Pushes

_LOOK_SECONDS = 5.0
_EARLY_TRIES = 3  # in a row, before their time, because a receiver asks for it
_LEAST_SECONDS, _MOST_SECONDS = 1.0, 3600.0  # of what a receiver may ask for
_QUIET_SECONDS = 3600.0  # for so long the same trouble is not said again


def resource(minimum_uid: int) -> dict[str, str | None]:
    """Who pushes, as OpenTelemetry names it; None is not known.

    The instance tells the daemons of one machine apart: the system's has the machine's name.
    """
    host, uid = host_name() or None, os.geteuid()
    user = None if uid < minimum_uid else user_name(uid) or str(uid)
    return {
        "service.name": "yolowatch",
        "service.version": __version__,
        "service.instance.id": host if user is None else f"{host or ''}/{user}",
        "host.name": host,
    }


class Pushing:
    """`turn` is called by the loop, `work` and `look` by the thread."""

    def __init__(
        self,
        wanted: Callable[[], Otlp],
        publisher: Publisher,
        resource: Mapping[str, str | None],
        clock: Clock,
        say: Callable[[str], None],
        failed: Callable[[str, str], None],
        beat: Callable[[], None],
        sender: Sender | None = None,
    ) -> None:
        self._wanted, self._publisher, self._resource = wanted, publisher, resource
        self._clock, self._say, self._failed, self._beat = clock, say, failed, beat
        self._sender = sender or Sender(clock)
        self._over = threading.Event()
        self._started = False
        self._pushes = Pushes()
        self._before, self._due, self._counted = Otlp(), clock.monotonic(), Counted()
        self._early = 0
        self._said: dict[str, float] = {}
        self._in_trouble = False
        publisher.pushes = lambda: self._pushes

    def turn(self) -> None:
        """Have the thread begin where something is to be pushed."""
        if not self._started and self._wanted().endpoint is not None:
            self._started = True
            threads.start("otlp", self.work, self._failed)

    def close(self) -> None:
        """Have the thread end; nobody waits for a push that is under way."""
        self._over.set()

    def work(self) -> None:
        """Push whenever it is time, until `close`; the body of the thread."""
        while not self._over.is_set():
            seconds = self.look()
            self._beat()
            self._over.wait(seconds)

    def look(self) -> float:
        """Push if it is time; the seconds after which to look again, which are few."""
        wanted, now = self._wanted(), self._clock.monotonic()
        if wanted != self._before:
            self._before, self._due, self._early = wanted, now, 0
            self._pushes = self._counting(wanted)
        if wanted.endpoint is None:
            return _LOOK_SECONDS
        if now >= self._due:
            answer = self._push(wanted)
            self._note(wanted, answer)
            self._due = now + self._pause_seconds(wanted, answer)
        return min(max(self._due - self._clock.monotonic(), 0.0), _LOOK_SECONDS)

    def _push(self, wanted: Otlp) -> Answer:
        found, at = self._publisher.readings(), self._clock.wall()
        made = request(found, self._resource, at, self._publisher.started_at, self._counted)
        self._counted = made.counted
        return self._sender.send(wanted, made.body)

    def _counting(self, wanted: Otlp) -> Pushes:
        """What is counted from now on: nothing where nothing is pushed."""
        if wanted.endpoint is None:
            return Pushes()
        found = self._pushes
        return replace(found, tried=found.tried or 0, failed=found.failed or 0)

    def _pause_seconds(self, wanted: Otlp, answer: Answer) -> float:
        """Until the next push; a receiver that asks for patience gets it."""
        later = answer.retry_after_seconds
        if later is None:
            self._early = 0
            return wanted.every_seconds
        later = min(max(later, _LEAST_SECONDS), _MOST_SECONDS)
        self._early += 1
        if later < wanted.every_seconds and self._early > _EARLY_TRIES:
            return wanted.every_seconds
        return later

    def _note(self, wanted: Otlp, answer: Answer) -> None:
        """Count it, and say each trouble once until it has passed, or for an hour."""
        failed = answer.trouble is not None
        self._pushes = Pushes(
            (self._pushes.tried or 0) + 1,
            (self._pushes.failed or 0) + failed,
            self._pushes.taken_at if failed else self._clock.wall(),
        )
        now, host = self._clock.monotonic(), host_of(wanted)
        if answer.trouble is None:
            if self._in_trouble:
                self._say(f"metrics are taken by {host} again")
            self._in_trouble = False
            self._said = {each: at for each, at in self._said.items() if now - at < _QUIET_SECONDS}
        elif answer.trouble not in self._said:
            self._said[answer.trouble] = now
            self._in_trouble = True
            detail = f" ({answer.detail})" if answer.detail else ""
            self._say(
                f"metrics cannot be pushed to {host}: {answer.trouble}{detail}; "
                "yolowatch goes on trying"
            )
