"""Reads the journal: the half that commands which change nothing need."""

from __future__ import annotations

import json
import os
import sqlite3
import string
import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

from yolowatch.edges import plain
from yolowatch.edges.clock import Clock, SystemClock
from yolowatch.edges.database import explain, open_database
from yolowatch.edges.records import (
    AttemptRecord,
    CheckpointRecord,
    FileRecord,
    IncidentRecord,
    PlanRecord,
    ReceiptRecord,
    RunRecord,
    StepRecord,
)
from yolowatch.errors import UsageError
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Plan

R = TypeVar("R")
J = TypeVar("J", bound="JournalReader")


class JournalReader:
    """An open journal, usable from any thread. Every method may raise StateError."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self.path = path
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._connection = open_database(path, self._clock)
        self._connection.row_factory = sqlite3.Row

    def close(self) -> None:
        """Let go of the file; nothing is lost without it."""
        with self._lock:
            self._connection.close()

    def __enter__(self: J) -> J:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def runs(self, limit: int = 100) -> tuple[RunRecord, ...]:
        """The newest runs, newest first."""
        rows = self._rows("SELECT * FROM runs ORDER BY began DESC, rowid DESC LIMIT ?", (limit,))
        return tuple(_run(row) for row in rows)

    def run(self, identity: str) -> RunRecord:
        """The run of this id or unambiguous beginning of one; raises UsageError."""
        wanted = identity.strip().lower()
        if not wanted or not set(wanted) <= set(string.hexdigits):
            raise UsageError(
                f"{identity!r} is no run's id, which is made of the digits 0-9 and a-f: "
                "`yolowatch runs` lists them."
            )
        rows = self._rows("SELECT * FROM runs WHERE substr(id, 1, ?) = ?", (len(wanted), wanted))
        if not rows:
            raise UsageError(f"No run's id begins with {wanted}: `yolowatch runs` lists them.")
        if len(rows) > 1:
            raise UsageError(f"{len(rows)} runs' ids begin with {wanted}: give more of its digits.")
        return _run(rows[0])

    def attempts(self, run: str) -> tuple[AttemptRecord, ...]:
        """All attempts of a run, the user's own first."""
        rows = self._rows("SELECT * FROM attempts WHERE run = ? ORDER BY number", (run,))
        return tuple(_record(AttemptRecord, row, process=_key(row)) for row in rows)

    def incidents(self, run: str) -> tuple[IncidentRecord, ...]:
        """All incidents of a run, oldest first."""
        rows = self._rows("SELECT * FROM incidents WHERE run = ? ORDER BY rowid", (run,))
        return tuple(map(_incident, rows))

    def incident(self, identity: str) -> IncidentRecord | None:
        """The incident of this id, of any run."""
        rows = self._rows("SELECT * FROM incidents WHERE id = ?", (identity,))
        return next(map(_incident, rows), None)

    def latest_incidents(self, limit: int) -> tuple[IncidentRecord, ...]:
        """The newest incidents of all runs, newest first."""
        rows = self._rows("SELECT * FROM incidents ORDER BY rowid DESC LIMIT ?", (limit,))
        return tuple(map(_incident, rows))

    def plans(self, run: str) -> tuple[PlanRecord, ...]:
        """All plans of a run with their steps, oldest first."""
        rows = self._rows("SELECT * FROM plans WHERE run = ? ORDER BY rowid", (run,))
        return tuple(self._plan(row) for row in rows)

    def unfinished_plans(self) -> tuple[PlanRecord, ...]:
        """Plans of any run without an end, oldest first; some may be at work in a live process."""
        rows = self._rows("SELECT * FROM plans WHERE ended IS NULL ORDER BY rowid")
        return tuple(self._plan(row) for row in rows)

    def files(self, plan: str) -> tuple[FileRecord, ...]:
        """The user's files that a plan replaced, in that order."""
        rows = self._rows("SELECT * FROM files WHERE plan = ? ORDER BY sequence", (plan,))
        return tuple(_record(FileRecord, row) for row in rows)

    def checkpoints(self, run: str) -> tuple[CheckpointRecord, ...]:
        """All copies that were taken of a run's checkpoints, oldest first."""
        rows = self._rows("SELECT * FROM checkpoints WHERE run = ? ORDER BY sequence", (run,))
        return tuple(_record(CheckpointRecord, row) for row in rows)

    def receipts(self, run: str) -> tuple[ReceiptRecord, ...]:
        """All receipts of a run, oldest first."""
        rows = self._rows("SELECT * FROM receipts WHERE run = ? ORDER BY sequence", (run,))
        return tuple(ReceiptRecord(run, json.loads(row["body"]), row["at"]) for row in rows)

    def mementos(self) -> tuple[tuple[str, str], ...]:
        """Run and memento of every adopted run without an end, oldest first."""
        rows = self._rows("SELECT run, body FROM mementos ORDER BY at")
        return tuple((row["run"], row["body"]) for row in rows)

    def lesson(self, kind: str) -> str | None:
        """What was learnt of trainings of this kind."""
        rows = self._rows("SELECT body FROM lessons WHERE kind = ?", (kind,))
        return str(rows[0]["body"]) if rows else None

    def _plan(self, row: sqlite3.Row) -> PlanRecord:
        steps = self._rows("SELECT * FROM steps WHERE plan = ? ORDER BY sequence", (row["id"],))
        return _record(
            PlanRecord,
            row,
            plan=plain.from_json(Plan, row["body"]),
            steps=tuple(_record(StepRecord, each) for each in steps),
        )

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise explain(error, self.path) from error


def _run(row: sqlite3.Row) -> RunRecord:
    return _record(RunRecord, row, command=tuple(json.loads(row["command"])), supervisor=_key(row))


def _incident(row: sqlite3.Row) -> IncidentRecord:
    return _record(IncidentRecord, row, evidence=tuple(json.loads(row["evidence"])))


def _record(kind: Callable[..., R], row: sqlite3.Row, **computed: Any) -> R:
    """A record whose fields are the columns of the same names, but for those `computed`."""
    values = dict(computed)
    for name in (each.name for each in fields(cast(Any, kind))):
        if name not in values:
            # A path that is no UTF-8 was bound as bytes, see `journal._bound`.
            value = row[name]
            values[name] = os.fsdecode(value) if isinstance(value, bytes) else value
    return kind(**values)


def _key(row: sqlite3.Row) -> ProcessKey | None:
    if row["boot_id"] is None:
        return None
    return ProcessKey(row["boot_id"], row["pid"], row["start_ticks"])
