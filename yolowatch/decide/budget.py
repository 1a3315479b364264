"""How often a run may be started again: by progress, not by count.

A run that completes epochs between its failures may fail as often as it likes; one that completes
none, attempt after attempt, is stuck, and a person is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class AttemptEnd:
    """One ended attempt; `completed_epoch` is the last epoch whose result was kept (from 0)."""

    attempt: int
    completed_epoch: int | None


@dataclass(frozen=True)
class AttemptHistory:
    """The ended attempts of a run, oldest first; the failed one that is judged is the last."""

    ends: tuple[AttemptEnd, ...] = ()

    def with_end(self, attempt: int, completed_epoch: int | None) -> AttemptHistory:
        return replace(self, ends=(*self.ends, AttemptEnd(attempt, completed_epoch)))


def without_progress(history: AttemptHistory) -> int:
    """How many of the latest attempts in a row completed no epoch that was not complete before.

    An attempt of which no completed epoch is known counts as one without: unknown is not progress.
    """
    best = -1
    row = 0
    for end in history.ends:
        if end.completed_epoch is not None and end.completed_epoch > best:
            best = end.completed_epoch
            row = 0
        else:
            row += 1
    return row


def exhausted(history: AttemptHistory, limit: int) -> str | None:
    """Why no further attempt may start, as the end of a sentence, or None when one may."""
    row = without_progress(history)
    if row < limit:
        return None
    return f"the last {row} attempts completed no new epoch (the limit is {limit})"
