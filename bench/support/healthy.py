"""Recorded healthy trainings, told once more to the product's own core, under another capacity.

What the hook of a real training said is handed on message by message, with the time that passed
between; only the capacity that its samples name is another. Nobody answers an order: that one was
given is enough.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolowatch.daemon.core import Core
from yolowatch.daemon.records import Records
from yolowatch.edges.journal import Journal
from yolowatch.model import events
from yolowatch.model.actions import Action, Order, RunStep, Signal
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Policy

_TICK_SECONDS = 0.5
_SETTLE_SECONDS = 5.0


@dataclass(frozen=True)
class Judged:
    """What was done to a training, and the incidents that were opened: kind and outcome."""

    done: tuple[str, ...]
    incidents: tuple[tuple[str, str | None], ...]


def judged(run: Mapping[str, Any], capacity: int) -> Judged:
    """What a core in mode auto does about a recorded training under this capacity."""
    process = ProcessKey("boot", 1, 1)
    with (
        tempfile.TemporaryDirectory(prefix="yolowatch-bench-") as folder,
        Journal(Path(folder) / "journal.sqlite") as journal,
    ):
        records = Records.begin(journal, ("recorded",), "/", "auto", None, lambda _said: None)
        core = Core(records, Policy())
        done: list[Action] = []
        for event in _told(run["messages"], process, capacity):
            done += core.step(event)
        incidents = tuple((i.kind, i.outcome) for i in journal.incidents(records.run))
    changes = (each for each in done if isinstance(each, Order | RunStep | Signal))
    return Judged(tuple(type(each).__name__ for each in changes), incidents)


def _told(
    messages: Sequence[Sequence[Any]], process: ProcessKey, capacity: int
) -> Iterator[events.Event]:
    now = messages[0][0]
    yield events.Started(0, process, now)
    yield events.HookConnected(process, 0, 1)
    for when, kind, fields in messages:
        while now + _TICK_SECONDS < when:
            now += _TICK_SECONDS
            yield events.Tick(now)
        if "capacity_bytes" in fields:
            fields = {**fields, "capacity_bytes": capacity}
        yield events.HookMessage(1, process, kind, fields, when)
    yield events.ProcessExited(process, 0, None, when)
    yield events.HookGone(1, process, when)
    yield events.Tick(when + _SETTLE_SECONDS)
