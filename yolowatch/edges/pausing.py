"""What is paused, kept in a file, so that a daemon that is started anew does not begin to act."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from yolowatch.edges.files import keep, read_bounded

_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Paused:
    """All runs, or single ones by their ids."""

    everything: bool = False
    runs: frozenset[str] = field(default_factory=frozenset)


class PauseFile:
    """The file `paused.json` in the state directory."""

    def __init__(self, state_directory: Path) -> None:
        self.path = state_directory / "paused.json"

    def read(self) -> Paused:
        """What was kept; everything where that cannot be read, since unknown is not unpaused."""
        try:
            body = json.loads(read_bounded(self.path, _MAX_BYTES))
            return Paused(bool(body["everything"]), frozenset(map(str, body["runs"])))
        except FileNotFoundError:
            return Paused()
        except (OSError, ValueError, KeyError, TypeError):
            return Paused(everything=True)

    def keep(self, paused: Paused, known_runs: Collection[str]) -> None:
        """Write it down, without runs that nobody knows any more; raises OSError."""
        runs = sorted(paused.runs & set(known_runs))
        body = json.dumps({"everything": paused.everything, "runs": runs}).encode()
        keep(self.path, body, synced=True)
