"""The trainer families that can be resumed, and what each of them has to know.

A family is a module of pure functions; another trainer joins by one more module in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from yolowatch.model.plan import Edits
from yolowatch.model.run import RunSpec
from yolowatch.trainers import ultralytics, yolov5, yolov9


class Family(Protocol):
    """Bytes in, bytes out: nothing here opens a file or starts a process."""

    @property
    def NAME(self) -> str:
        """As the hook names it in `RunSpec.trainer`."""

    @property
    def CONFIGURATIONS(self) -> tuple[str, ...]:
        """The files of the run directory that say what is trained, of which not all need exist."""

    @property
    def ADDS_TO_RESULTS(self) -> bool:
        """Whether a run that begins afresh adds to the table that it finds, or replaces it."""

    @property
    def LEVERS(self) -> Mapping[str, str]:
        """Each lever that this family has, and by what it is carried out."""

    @property
    def REFUSED(self) -> Mapping[str, str]:
        """Each lever that it does not have, and why."""

    @property
    def RELEASES(self) -> tuple[str, ...]:
        """The beginnings of the versions that are understood; empty: known by what it has."""

    def is_command(self, argv: Sequence[str]) -> bool:
        """Whether this argument vector is the family's own command line, asked to train."""

    def resume_command(self, argv: Sequence[str], last: str, edits: Edits) -> tuple[str, ...]:
        """The command that continues from the checkpoint `last`."""

    def fresh_command(self, argv: Sequence[str], run_dir: str, edits: Edits) -> tuple[str, ...]:
        """The command that begins again in the run directory it already has."""

    def validation_command(self, spec: RunSpec, batch: int) -> str:
        """For a person's shell: validates the best checkpoint of a finished run with this batch."""

    def rewrite(self, name: str, document: bytes, edits: Edits) -> bytes:
        """The configuration file of this name with the edits in it."""

    def trim_results(self, table: bytes, epochs_kept: int) -> bytes:
        """The table of results without the epochs that a resume will repeat."""

    def scaled_weight_decay(
        self, weight_decay: float, batch: int, accumulate: int, nbs: int
    ) -> float:
        """What the trainer makes of the configured weight decay, bit for bit."""


FAMILIES: tuple[Family, ...] = (ultralytics, yolov5, yolov9)


def family(name: str) -> Family | None:
    """The family that the hook names so, or None for a trainer that is only observed."""
    return next((each for each in FAMILIES if name == each.NAME), None)


def unknown_release(trainer: Family, version: str | None) -> str | None:
    """Why this version of a trainer is only observed, in one sentence; None where it is not."""
    if not trainer.RELEASES or version is None:
        return None
    if any(version == each or version.startswith(each + ".") for each in trainer.RELEASES):
        return None
    return (
        f"{trainer.NAME} {version} is not a release that is understood "
        f"({trainer.RELEASES[0]} to {trainer.RELEASES[-1]} are): it is only observed."
    )
