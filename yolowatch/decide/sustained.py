"""When a condition becomes an incident: it has to hold for a while, and is then said once.

A state machine over the findings of all detectors, without a clock: time is an argument. What does
not hold for `LAPSE_SECONDS` has to begin anew; what was said is over once it has not been seen for
`OVER_SECONDS`, and is not said again before the cool-down has passed. A clock that steps back makes
everything begin anew: it is not known how long anything held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from yolowatch.model.verdict import Kind

LAPSE_SECONDS = 10.0
OVER_SECONDS = 60.0


@dataclass(frozen=True)
class Finding:
    """What one detector sees at this moment, as a person would read it; `seconds` it must hold."""

    kind: Kind
    sentence: str
    evidence: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Held:
    """How long one kind has been found; `said_at` is None while it was never said."""

    since: float
    seen: float
    said_at: float | None = None
    open: bool = False


@dataclass(frozen=True)
class Vigil:
    """What is held at present, by kind."""

    held: Mapping[Kind, Held] = field(default_factory=dict)
    at: float | None = None


@dataclass(frozen=True)
class Change:
    """What is to be said now, and what is over."""

    opened: tuple[Finding, ...] = ()
    over: tuple[Kind, ...] = ()


def fold(
    vigil: Vigil, findings: Iterable[Finding], at: float, cooldown_seconds: float
) -> tuple[Vigil, Change]:
    """The vigil after one more look at time `at`, and what follows from it."""
    held = dict(vigil.held)
    if vigil.at is not None and at < vigil.at:
        held = {kind: _anew(each, at) for kind, each in held.items()}
    opened: list[Finding] = []
    for finding in findings:
        before = held.get(finding.kind)
        lapsed = before is None or at - before.seen > LAPSE_SECONDS
        since = at if before is None or (lapsed and not before.open) else before.since
        now = replace(before or Held(at, at), since=since, seen=at)
        cool = now.said_at is None or not 0 <= at - now.said_at < cooldown_seconds
        if not now.open and cool and at - since >= finding.seconds:
            opened.append(finding)
            now = replace(now, open=True, said_at=at)
        held[finding.kind] = now
    over = tuple(kind for kind, each in held.items() if each.open and at - each.seen > OVER_SECONDS)
    for kind in over:
        held[kind] = replace(held[kind], open=False)
    return Vigil(held, at), Change(tuple(opened), over)


def _anew(held: Held, at: float) -> Held:
    """As if it had been found, and said if it was, just now."""
    return replace(held, since=at, seen=at, said_at=None if held.said_at is None else at)
