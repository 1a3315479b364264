"""What hands can do: launch a command, signal a process, carry out the steps of a plan.

They decide nothing. `Hands` starts commands of its own; `ServiceHands` works on runs that somebody
else has started, and keeps what only hands may know of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from yolowatch.model.actions import RestoreFiles, RunStep, VaultCheckpoint
from yolowatch.model.adoption import Ancestor
from yolowatch.model.events import Event, Post, StepDone, StepFailed
from yolowatch.model.identity import ProcessKey


@dataclass(frozen=True)
class Launched:
    """A started process; `pidfd` belongs to the hands and is open until its exit was posted."""

    process: ProcessKey
    pidfd: int


class Hands(Protocol):
    """The port: real processes behind it in the product, fakes in tests of the daemon."""

    def launch(self, command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Launched:
        """Start `command` without a shell; raises LaunchError."""

    def watch(self, launched: Launched, post: Post) -> None:
        """Post one ProcessExited when it ends; to be called once for each launched process."""

    def signal(self, process: ProcessKey, number: int) -> bool:
        """Signal this very process; False where it is gone. Raises OSError where it is forbidden.

        A process that merely has the same pid is never signalled.
        """


@dataclass(frozen=True)
class Inspected:
    """What the core may know of how a process was started; its environment stays with the hands."""

    uid: int
    gid: int
    argv: tuple[str, ...]
    cwd: str
    user: str | None = None
    groups: tuple[str, ...] = ()  # names of the groups that the user is in
    ancestors: tuple[Ancestor, ...] = ()
    scheduler: str | None = None  # whose business restarts are, in words


PostOf = Callable[[str | None, Event], bool]
"""As `Post`, with the run that an event is of; None where the event itself names a process."""


class ServiceHands(Protocol):
    """The port of the service: runs are named by the core's ids, processes by their keys."""

    def capture(self, run: str, process: ProcessKey) -> Inspected:
        """Keep how this very process was started, under the run's id; raises CaptureError.

        What was kept of the run before is replaced.
        """

    def forget(self, run: str) -> None:
        """Drop what was kept of a run; of an unknown one too."""

    def step(self, run: str, request: RunStep) -> StepDone | StepFailed:
        """Carry out one step of a plan, in the calling thread, however long it takes."""

    def restore(self, run: str, request: RestoreFiles) -> list[str]:
        """Put original files back; returns a sentence for each that could not be."""

    def vault(self, run: str, request: VaultCheckpoint) -> None:
        """Have a checkpoint copied; posts CheckpointVaulted or CheckpointRefused later."""

    def signal(self, process: ProcessKey, number: int) -> bool:
        """Signal this very process; False where it is gone, OSError where it is forbidden."""

    def watch(self, process: ProcessKey) -> None:
        """Post one ProcessExited, with neither status nor signal, when it ends or if it has."""

    def close(self) -> None:
        """Forget everything and end the threads; no training is touched."""
