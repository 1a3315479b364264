"""What has to be remembered of one run between two snapshots: progress, gains, and its end.

Kept by the publisher, not by the core, because no decision rests on it; it begins anew with the
daemon, as counters may.
"""

from __future__ import annotations

from yolowatch.daemon.core import Core
from yolowatch.metrics.snapshot import Spent
from yolowatch.model.run import RunState


class Ledger:
    """Of one run; `note` is called by the loop, with both clocks in seconds."""

    def __init__(self) -> None:
        self.progress_at: float | None = None  # by the wall clock
        self.remedied_at: float | None = None  # by the wall clock: the last start by a remedy
        self.over_at: float | None = None  # by the monotonic one
        self._mark: object = None
        self._attempt: int | None = None
        self._step = 0
        self._noted_at = 0.0
        self._steps_saved = 0
        self._seconds_saved = 0.0

    def note(self, core: Core, state: RunState, now: float, wall: float) -> None:
        """Take in how far the run is at this moment."""
        attempt = core.attempt
        if attempt is None:
            return
        mark = (attempt.number, state.place, state.last_epoch_ended, state.checkpoint)
        if mark != self._mark:
            self._mark, self.progress_at = mark, wall
        if core.over and self.over_at is None:
            self.over_at = now
        step = state.place.step or 0
        if attempt.number != self._attempt:
            # What an attempt had done when this daemon first saw it was counted by the one before.
            self._step = 0 if self._attempt is not None else step
            self._attempt = attempt.number
            if attempt.number > 0 and attempt.started_at <= now:  # else of another boot
                self.remedied_at = wall - (now - attempt.started_at)
        elif attempt.number > 0 and core.alive and step:
            self._seconds_saved += (now - self._noted_at) * state.ranks
        if attempt.number > 0:
            self._steps_saved += max(step - self._step, 0)
        self._step, self._noted_at = step, now

    def spent(self, core: Core) -> Spent:
        """What the failures of the run have cost so far, and what was trained in spite of them."""
        receipts = core.healing.receipts
        return Spent(
            sum(each.costs.steps_lost or 0 for each in receipts),
            self._steps_saved,
            sum((each.costs.seconds_lost or 0.0) * each.plan.ranks for each in receipts),
            self._seconds_saved,
        )
