"""The trainer families that can be resumed, and what each of them has to know.

A family is a module of pure functions; another trainer joins by one more module in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from yolowatch.model.plan import Edits
from yolowatch.trainers import ultralytics


class Family(Protocol):
    """Bytes in, bytes out: nothing here opens a file or starts a process."""

    @property
    def NAME(self) -> str:
        """As the hook names it in `RunSpec.trainer`."""

    def is_command(self, argv: Sequence[str]) -> bool:
        """Whether this argument vector is the family's own command line, asked to train."""

    def resume_command(self, argv: Sequence[str], last: str, edits: Edits) -> tuple[str, ...]:
        """The command that continues from the checkpoint `last`."""

    def fresh_command(self, argv: Sequence[str], run_dir: str, edits: Edits) -> tuple[str, ...]:
        """The command that begins again in the run directory it already has."""

    def rewrite_args(self, document: bytes, edits: Edits) -> bytes:
        """The run's configuration file with the edits in it."""

    def trim_results(self, table: bytes, epochs_kept: int) -> bytes:
        """The table of results without the epochs that a resume will repeat."""


FAMILIES: tuple[Family, ...] = (ultralytics,)


def family(name: str) -> Family | None:
    """The family that the hook names so, or None for a trainer that is only observed."""
    return next((each for each in FAMILIES if name == each.NAME), None)
