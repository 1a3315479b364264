"""Messages to people who are not looking: what is configured, what is said of an incident."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from yolowatch.model.standing import Standing


@dataclass(frozen=True)
class Notifications:
    """The URLs are Apprise's and hold passwords: they are never printed."""

    urls: tuple[str, ...] = field(default=(), repr=False)
    about: str = "everything"  # or "person": only what needs one, and its recovery
    group_seconds: float = 15.0  # what happens meanwhile is one message
    per_hour: int = 12  # messages at most; what is more waits and is grouped


class Weight(Enum):
    """What a message is to its reader; the values are Apprise's."""

    PERSON = "failure"  # nothing happens any more unless a person does something
    INFORMED = "info"
    RECOVERED = "success"  # what needed a person needs none any more


@dataclass(frozen=True)
class Situation:
    """Where one incident stands."""

    incident: str
    run: str
    sentence: str
    standing: Standing
    reason: str | None = None
    host: str | None = None
    user: str | None = None
    model: str | None = None
    run_dir: str | None = None
    minor: bool = False  # nobody is told while it is only watched


@dataclass(frozen=True)
class Notice:
    """One thing to say."""

    weight: Weight
    situation: Situation
    at: float


@dataclass(frozen=True)
class Message:
    """One message as it is sent; `told` are incidents and the standing that it tells of each."""

    weight: Weight
    title: str
    text: str
    told: tuple[tuple[str, str], ...] = ()
