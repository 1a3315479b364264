"""Finds out where a training came from, through the hands, and how dense its data set is."""

from __future__ import annotations

from pathlib import Path

from yolowatch.daemon.counting import count
from yolowatch.decide.rules import OPT_OUT_NAME
from yolowatch.edges import proc
from yolowatch.edges.clock import Clock
from yolowatch.edges.names import home_of
from yolowatch.edges.optout import opted_out
from yolowatch.errors import CaptureError
from yolowatch.hands.port import ServiceHands
from yolowatch.model.actions import Adopt, CountBoxes
from yolowatch.model.adoption import Adoption
from yolowatch.model.events import Adopted, BoxesCounted


class Surveyor:
    """`survey` is called in threads of its own: it reads files and /proc."""

    def __init__(self, hands: ServiceHands, clock: Clock) -> None:
        self._hands = hands
        self._clock = clock

    def survey(self, request: Adopt | CountBoxes) -> Adopted | BoxesCounted:
        """What is asked: where a training came from, or how dense its data set is."""
        if isinstance(request, CountBoxes):
            return count(request, self._clock)
        return self._origin(request)

    def _origin(self, request: Adopt) -> Adopted:
        """Keep how the training, or the launcher of its ranks, was started."""
        process = request.launcher or request.process
        try:
            found = self._hands.capture(request.run, process)
        except CaptureError as error:
            owner = proc.owner(process.pid)
            argv = proc.command_line(process.pid) or ()
            seen = None if owner is None else Adoption(process, owner, argv, "")
            return Adopted(request.run, process, seen, str(error), self._clock.monotonic())
        adoption = Adoption(
            process,
            found.uid,
            found.argv,
            found.cwd,
            found.user,
            found.groups,
            found.ancestors,
            found.scheduler,
            self._opted_out(request.run_dir, found.uid),
        )
        return Adopted(request.run, process, adoption, None, self._clock.monotonic())

    def _opted_out(self, run_dir: str | None, uid: int) -> bool | None:
        if run_dir is None:
            return None
        return opted_out(Path(run_dir), OPT_OUT_NAME, uid=uid, home=home_of(uid))
