"""Where an adopted training came from: what decides whether anybody else may start it again."""

from __future__ import annotations

from dataclasses import dataclass

from yolowatch.model.identity import ProcessKey


@dataclass(frozen=True)
class Ancestor:
    """A process above the training, nearest first; `has_terminal` says that it can be typed at."""

    process: ProcessKey
    argv: tuple[str, ...]
    has_terminal: bool | None = None


@dataclass(frozen=True)
class Adoption:
    """What the core may know of a process that it adopts. No environment is in it."""

    process: ProcessKey
    uid: int
    argv: tuple[str, ...]
    cwd: str
    user: str | None = None
    groups: tuple[str, ...] = ()
    ancestors: tuple[Ancestor, ...] = ()
    scheduler: str | None = None  # whose business restarts are, in words
    opted_out: bool | None = None
