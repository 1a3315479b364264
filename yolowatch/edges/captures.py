"""Keeps what was captured where a successor of the daemon finds it: private files in memory.

The environment in it holds secrets. So it lies in the service's runtime directory, which no disk
and no backup sees and which a reboot empties, readable by nobody else, and goes with the run.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from yolowatch.edges import plain
from yolowatch.edges.files import keep, read_bounded, remove
from yolowatch.model.adoption import Ancestor
from yolowatch.model.captured import Captured

_MAX_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class Kept:
    """What is kept of one run."""

    captured: Captured
    ancestors: tuple[Ancestor, ...] = ()


class CaptureStore:
    """The captures of a service's runs, in `directory`, which only the service may enter."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory

    def save(self, run: str, kept: Kept) -> None:
        """Keep it, whole or not at all; raises OSError."""
        keep(self._path(run), plain.to_json(kept).encode())

    def load(self, run: str) -> Kept | None:
        """What was kept of this run, by whichever daemon."""
        try:
            return plain.from_json(Kept, read_bounded(self._path(run), _MAX_BYTES).decode())
        except (OSError, ValueError):
            return None

    def forget(self, run: str) -> None:
        with contextlib.suppress(OSError):
            remove(self._path(run))

    def _path(self, run: str) -> Path:
        if not run.isalnum():
            raise ValueError(f"{run!r} is no run's id")
        return self._directory / f"{run}.json"
