"""What the journal gives back: one frozen record a table. Times are seconds since 1970 UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Plan


@dataclass(frozen=True)
class RunRecord:
    """One `yolowatch run`; without `ended` it runs, or its `supervisor` was killed."""

    id: str
    command: tuple[str, ...]
    cwd: str
    mode: str
    supervisor: ProcessKey | None
    trainer: str | None
    run_dir: str | None
    began: float
    ended: float | None
    status: int | None
    outcome: str | None


@dataclass(frozen=True)
class AttemptRecord:
    """One execution of the command; `last_epoch` is the last that ended, counted from 0."""

    run: str
    number: int
    process: ProcessKey | None
    began: float
    ended: float | None
    status: int | None
    signal: int | None
    outcome: str | None
    last_epoch: int | None


@dataclass(frozen=True)
class IncidentRecord:
    """What went wrong, and how it ended once it did."""

    id: str
    run: str
    attempt: int
    kind: str
    sentence: str
    evidence: tuple[str, ...]
    opened: float
    closed: float | None
    outcome: str | None


@dataclass(frozen=True)
class StepRecord:
    """One line of a plan's log: `state` is intent, done or failed."""

    plan: str
    name: str
    state: str
    detail: str
    at: float


@dataclass(frozen=True)
class PlanRecord:
    """A plan as it was written before its first effect; without `ended` it is unfinished."""

    id: str
    run: str
    plan: Plan
    written: float
    ended: float | None
    outcome: str | None
    steps: tuple[StepRecord, ...]

    @property
    def interrupted_step(self) -> str | None:
        """The step that was begun and has no end: after a crash nobody knows how far it got."""
        if self.steps and self.steps[-1].state == "intent":
            return self.steps[-1].name
        return None


@dataclass(frozen=True)
class FileRecord:
    """A file of the user that a plan replaced; the original is at `copy`."""

    plan: str
    path: str
    sha256_before: str | None
    sha256_after: str | None
    copy: str | None
    at: float


@dataclass(frozen=True)
class CheckpointRecord:
    """A vaulted copy; the vault may have removed it since."""

    run: str
    attempt: int
    epoch: int
    path: str
    sha256: str
    copy: str
    size_bytes: int
    seconds: float | None
    at: float


@dataclass(frozen=True)
class ReceiptRecord:
    """What changed, why and what it cost, as the JSON object that was written."""

    run: str
    body: Mapping[str, Any]
    at: float
