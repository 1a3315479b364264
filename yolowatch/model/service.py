"""What the service was configured to do: frozen, made from text by `config.service`.

Paths are as they were written; whether they exist is asked elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from yolowatch.model.attach import AttachPolicy
from yolowatch.model.notifications import Notifications
from yolowatch.model.plan import Policy
from yolowatch.model.push import Otlp

MODES = ("observe", "recommend", "auto")
"""The most cautious first."""


@dataclass(frozen=True)
class UserRule:
    """The mode of one user, by name or uid, or of a group's members; exactly one is set."""

    mode: str
    user: str | None = None
    uid: int | None = None
    group: str | None = None
    policy: Policy | None = None  # None: the service's


@dataclass(frozen=True)
class DirectoryRule:
    """The mode of the runs beneath an absolute path."""

    path: str
    mode: str


@dataclass(frozen=True)
class ServiceConfig:
    """The configuration of the service; durations in seconds."""

    mode: str = "recommend"
    attach: AttachPolicy = AttachPolicy.SAFE
    metrics: str | None = "127.0.0.1:9466"  # HOST:PORT; None: not served
    web_config: str | None = None  # the file that says who may read there, and how it is encrypted
    control_group: str = "yolowatch"  # its members may see and command every run
    state_dir: str | None = None  # None: $XDG_STATE_HOME/yolowatch
    minimum_uid: int = 1000  # users below it are the system's
    others_grace_seconds: float = 60.0
    notifications: Notifications = field(default_factory=Notifications)
    otlp: Otlp = field(default_factory=Otlp)
    policy: Policy = field(default_factory=lambda: Policy(mode="recommend"))
    users: tuple[UserRule, ...] = ()
    directories: tuple[DirectoryRule, ...] = ()
