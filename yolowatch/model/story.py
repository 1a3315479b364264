"""One incident as a person reads it: everything its page shows, frozen and whole.

Kept as data beside the page, so that the page can be made anew when more becomes known, also by a
daemon that was not there. Texts are as the training said them and so are hostile: whoever shows
them escapes them. None is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Point:
    """What one short window of an attempt held; `at` is in seconds of the daemon's clock."""

    at: float
    attempt: int
    allocated_bytes: int | None = None  # at its end
    peak_bytes: int | None = None  # the most in it
    reserved_bytes: int | None = None
    phase: str | None = None
    epoch: int | None = None


@dataclass(frozen=True)
class Failure:
    """The moment at which memory ran out, as the last words tell it."""

    at: float
    allocated_bytes: int | None = None
    requested_bytes: int | None = None
    phase: str | None = None
    epoch: int | None = None
    step: int | None = None
    batch: int | None = None
    height: int | None = None
    width: int | None = None


@dataclass(frozen=True)
class Subject:
    """Whose training it is and what it trains."""

    run: str
    host: str | None = None
    user: str | None = None
    command: tuple[str, ...] = ()
    cwd: str | None = None
    run_dir: str | None = None
    trainer: str | None = None
    model: str | None = None
    data: str | None = None
    device: str | None = None
    mode: str | None = None


@dataclass(frozen=True)
class StepLine:
    """One line of what was done; `at` is seconds since 1970 UTC."""

    name: str
    state: str
    detail: str
    at: float


@dataclass(frozen=True)
class Waiting:
    """A plan that waits for a person; `changes` are sentences."""

    plan: str
    reason: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Story:
    """One incident: `receipt` is the JSON document of what was done about it."""

    incident: str
    kind: str
    sentence: str
    subject: Subject
    attempt: int = 0
    evidence: tuple[str, ...] = ()
    opened: float | None = None  # seconds since 1970 UTC, as `closed` is
    closed: float | None = None
    outcome: str | None = None
    failure: Failure | None = None
    capacity_bytes: int | None = None
    points: tuple[Point, ...] = ()
    receipt: Mapping[str, Any] | None = None
    waiting: Waiting | None = None
    steps: tuple[StepLine, ...] = ()
    under_way: bool = False  # whether a plan for it is carried out


@dataclass(frozen=True)
class Headline:
    """One incident in the list of all."""

    incident: str
    run: str
    kind: str
    sentence: str
    opened: float | None = None
    outcome: str | None = None
    receipt: str | None = None  # its outcome
    waiting: bool = False  # for a person's approval
    under_way: bool = False
