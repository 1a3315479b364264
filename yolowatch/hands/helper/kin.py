"""Which processes are a run's: the captured one, those started for it, and all that they started.

A process is known from the moment that it was seen beneath one of them, also when its parent has
ended since.
"""

from __future__ import annotations

from pathlib import Path

from yolowatch.edges.markers import read_marker
from yolowatch.edges.proc import descendants, is_alive
from yolowatch.edges.vault import NAME
from yolowatch.model.identity import ProcessKey

_MARKERS = 64


class Kin:
    """The processes of one run; to be asked often, since it knows only what it has seen."""

    def __init__(self, run: str, captured: ProcessKey) -> None:
        self._run = run
        self._leaders = {0: captured}  # by the attempt that each was started for
        self._seen = {captured}
        self._run_dir: Path | None = None
        self._look()

    def look_in(self, run_dir: Path) -> None:
        """Learn of attempts that were started before this process began."""
        self._run_dir = run_dir
        self._look()

    def has(self, process: ProcessKey) -> bool:
        """Whether this very process is one of the run's; what has ended harms nobody."""
        self._look()
        return process in self._seen or is_alive(process) is False

    def trains(self, attempt: int) -> bool:
        """Whether any other attempt than this one may still be alive."""
        self._look()
        others = [each for number, each in self._leaders.items() if number != attempt]
        return any(is_alive(each) is not False for each in others)

    def _look(self) -> None:
        if self._run_dir is not None:
            for attempt in range(1, _MARKERS):
                marker = self._run_dir / NAME / f"{self._run}-attempt{attempt}.started"
                if (process := read_marker(marker)) is not None:
                    self._leaders[attempt] = process
                    self._seen.add(process)
        for each in tuple(self._seen):
            if is_alive(each):
                self._seen.update(descendants(each.pid))
