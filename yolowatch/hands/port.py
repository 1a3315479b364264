"""What hands can do: launch a command, signal a process. They decide neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from yolowatch.model.events import Post
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
