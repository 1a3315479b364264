"""The journal: intent before effect, in one SQLite file that all yolowatch processes share.

Each call is one committed transaction. Everything a user can cause, from a full disk to a damaged
file, is a StateError with the cure. An environment is never written: there is no column for it.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from yolowatch.edges import plain
from yolowatch.edges.database import explain
from yolowatch.edges.journal_reader import JournalReader
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Plan

MOST_LESSONS = 1000


class Journal(JournalReader):
    """An open journal, usable from any thread. Every method may raise StateError."""

    def begin_run(
        self,
        command: Sequence[str],
        cwd: str,
        mode: str,
        supervisor: ProcessKey | None = None,
        run: str | None = None,
    ) -> str:
        """A new run's id, or the one given: eight random hexadecimal digits."""
        run = run or secrets.token_hex(4)
        self._insert(
            "runs",
            id=run,
            command=json.dumps(list(command)),
            cwd=cwd,
            mode=mode,
            began=self._clock.wall(),
            **_process(supervisor),
        )
        return run

    def describe_run(self, run: str, trainer: str | None, run_dir: str | None) -> None:
        """What the hook found out about the run; None leaves what is known."""
        self._execute(
            "UPDATE runs SET trainer = coalesce(?, trainer), run_dir = coalesce(?, run_dir)"
            " WHERE id = ?",
            (trainer, run_dir, run),
        )

    def end_run(self, run: str, status: int | None, outcome: str) -> None:
        """The supervisor's last word on a run."""
        self._execute(
            "UPDATE runs SET ended = ?, status = ?, outcome = ? WHERE id = ?",
            (self._clock.wall(), status, outcome, run),
        )

    def record_attempt(self, run: str, number: int, process: ProcessKey | None) -> None:
        """One execution was launched; a daemon that was killed may have written it already."""
        boot_id, pid, ticks = _process(process).values() if process else (None, None, None)
        self._execute(
            "INSERT INTO attempts (run, number, began, boot_id, pid, start_ticks)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (run, number) DO UPDATE SET"
            " boot_id = excluded.boot_id, pid = excluded.pid, start_ticks = excluded.start_ticks",
            (run, number, self._clock.wall(), boot_id, pid, ticks),
        )

    def end_attempt(
        self,
        run: str,
        number: int,
        *,
        status: int | None,
        signal: int | None,
        outcome: str,
        last_epoch: int | None = None,
    ) -> None:
        """It ended: `status` or `signal` where they are known, `outcome` in the model's words."""
        self._execute(
            "UPDATE attempts SET ended = ?, status = ?, signal = ?, outcome = ?, last_epoch = ?"
            " WHERE run = ? AND number = ?",
            (self._clock.wall(), status, signal, outcome, last_epoch, run, number),
        )

    def open_incident(
        self, run: str, attempt: int, kind: str, sentence: str, evidence: Sequence[str] = ()
    ) -> str:
        """A new incident's id."""
        incident = secrets.token_hex(4)
        self._insert(
            "incidents",
            id=incident,
            run=run,
            attempt=attempt,
            kind=kind,
            sentence=sentence,
            evidence=json.dumps(list(evidence)),
            opened=self._clock.wall(),
        )
        return incident

    def close_incident(self, incident: str, outcome: str) -> None:
        """It ended with this outcome."""
        self._execute(
            "UPDATE incidents SET closed = ?, outcome = ? WHERE id = ?",
            (self._clock.wall(), outcome, incident),
        )

    def write_plan(self, run: str, plan: Plan) -> str:
        """A new plan's id; the plan's incident must have been opened."""
        identity = secrets.token_hex(4)
        self._insert(
            "plans",
            id=identity,
            run=run,
            incident=plan.incident,
            attempt=plan.attempt,
            body=plain.to_json(plan),
            written=self._clock.wall(),
        )
        return identity

    def end_plan(self, plan: str, outcome: str) -> None:
        """It was carried out or given up: recovery will leave it alone."""
        self._execute(
            "UPDATE plans SET ended = ?, outcome = ? WHERE id = ?",
            (self._clock.wall(), outcome, plan),
        )

    def intend(self, plan: str, step: str, detail: str = "") -> None:
        """About to do it: committed before the first effect."""
        self._step(plan, step, "intent", detail)

    def done(self, plan: str, step: str, detail: str = "") -> None:
        """It was done."""
        self._step(plan, step, "done", detail)

    def failed(self, plan: str, step: str, detail: str) -> None:
        """It could not be done, and why."""
        self._step(plan, step, "failed", detail)

    def record_file(
        self, plan: str, path: str, before: str | None, after: str | None, copy: str | None
    ) -> None:
        """A file of the user with its SHA-256 before and after, and the original's copy."""
        self._insert(
            "files",
            plan=plan,
            path=path,
            sha256_before=before,
            sha256_after=after,
            copy=copy,
            at=self._clock.wall(),
        )

    def record_checkpoint(
        self,
        run: str,
        attempt: int,
        epoch: int,
        path: str,
        *,
        sha256: str,
        copy: str,
        size_bytes: int,
        seconds: float | None = None,
    ) -> None:
        """A copy that the vault took."""
        self._insert(
            "checkpoints",
            run=run,
            attempt=attempt,
            epoch=epoch,
            path=path,
            sha256=sha256,
            copy=copy,
            size_bytes=size_bytes,
            seconds=seconds,
            at=self._clock.wall(),
        )

    def write_receipt(self, run: str, body: Mapping[str, Any]) -> None:
        """A receipt, kept as it is."""
        self._insert("receipts", run=run, body=plain.to_json(body), at=self._clock.wall())

    def write_memento(self, run: str, body: str) -> None:
        """What a successor of this daemon needs; replaces what was there."""
        self._execute(
            "INSERT INTO mementos (run, body, at) VALUES (?, ?, ?) ON CONFLICT (run)"
            " DO UPDATE SET body = excluded.body, at = excluded.at",
            (run, body, self._clock.wall()),
        )

    def forget_memento(self, run: str) -> None:
        """The run is over: nobody goes on with it."""
        self._execute("DELETE FROM mementos WHERE run = ?", (run,))

    def write_lesson(self, kind: str, body: str) -> None:
        """What a training has taught of its kind; the oldest lessons make room."""
        self._execute(
            "INSERT INTO lessons (kind, body, at) VALUES (?, ?, ?) ON CONFLICT (kind)"
            " DO UPDATE SET body = excluded.body, at = excluded.at",
            (kind, body, self._clock.wall()),
        )
        self._execute(
            "DELETE FROM lessons WHERE kind NOT IN"
            " (SELECT kind FROM lessons ORDER BY at DESC LIMIT ?)",
            (MOST_LESSONS,),
        )

    def _step(self, plan: str, step: str, state: str, detail: str) -> None:
        self._insert(
            "steps", plan=plan, name=step, state=state, detail=detail, at=self._clock.wall()
        )

    def _insert(self, table: str, **values: Any) -> None:
        names, places = ", ".join(values), ", ".join("?" * len(values))
        self._execute(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(values.values()))

    def _execute(self, statement: str, values: tuple[Any, ...]) -> None:
        with self._lock:
            try:
                self._connection.execute(statement, tuple(_bound(each) for each in values))
            except sqlite3.IntegrityError:
                raise  # an id that was never written: a mistake of the caller, not of the file
            except sqlite3.Error as error:
                raise explain(error, self.path) from error


def _process(key: ProcessKey | None) -> dict[str, Any]:
    if key is None:
        return {}
    return {"boot_id": key.boot_id, "pid": key.pid, "start_ticks": key.start_ticks}


def _bound(value: Any) -> Any:
    """The value as SQLite takes it: text from elsewhere need not be valid Unicode."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            try:
                return os.fsencode(value)  # a path that is no UTF-8 keeps its bytes
            except UnicodeEncodeError:
                return value.encode("utf-8", "backslashreplace").decode()
    return value
