"""What must hold before a service starts somebody's training again: nobody else does.

The grace period belongs to whoever started the training: a person, a loop, a scheduler. After it,
and once more just before the start, it is seen whether anyone took the run over.
"""

from __future__ import annotations

from pathlib import Path

from yolowatch.decide import origin
from yolowatch.decide.rules import OPT_OUT_NAME
from yolowatch.edges.ancestry import survivors, trainings_like
from yolowatch.edges.clock import Clock
from yolowatch.edges.lease import RUN, SERVICE, Lease, LeaseHeld, require_free
from yolowatch.edges.names import home_of
from yolowatch.edges.optout import opted_out
from yolowatch.model.adoption import Adoption

_POLL_SECONDS = 1.0


class TakenOver(Exception):
    """The run is not to be started by us, or not any more; the text is the reason."""


class StandBy:
    """Guards the one run of `adoption`."""

    def __init__(self, adoption: Adoption, grace_seconds: float, clock: Clock) -> None:
        self._adoption = adoption
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._lease: Lease | None = None

    def wait(self, run_dir: Path) -> str:
        """Let the grace period pass and take the lease; raises TakenOver."""
        deadline = self._clock.monotonic() + self._grace_seconds
        while (left := deadline - self._clock.monotonic()) > 0:
            self._require_untaken(run_dir)
            self._clock.sleep(min(_POLL_SECONDS, left))
        self._require_untaken(run_dir)
        reason = self._adoption.scheduler or origin.obstacle(survivors(self._adoption.ancestors))
        if reason is not None:
            raise TakenOver(reason)
        return f"nobody else has started it in {self._grace_seconds:g} s"

    def claim(self, run_dir: Path) -> None:
        """Just before an effect: the run is still nobody else's, and now it is ours."""
        self._require_untaken(run_dir)
        if self._lease is None:
            try:
                self._lease = Lease(run_dir, SERVICE)
            except LeaseHeld as error:
                raise TakenOver(str(error)) from None

    def release(self) -> None:
        """The run is over."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def _require_untaken(self, run_dir: Path) -> None:
        try:
            require_free(run_dir, RUN)
        except LeaseHeld as error:
            raise TakenOver(str(error)) from None
        mine = self._adoption
        again = trainings_like(mine.argv, mine.cwd, mine.uid)
        others = [each for each in again if each != mine.process]
        if others:
            raise TakenOver(f"somebody has started it again as process {others[0].pid}")
        # The file may have come since the run was adopted: its owner has the last word.
        if opted_out(run_dir, OPT_OUT_NAME, uid=mine.uid, home=home_of(mine.uid)):
            raise TakenOver(f"it is opted out: {OPT_OUT_NAME} lies in its directory or above")
