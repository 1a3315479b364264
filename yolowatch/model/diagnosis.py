"""What `yolowatch doctor` sees of a machine, and what it says of it: frozen nouns.

None is what could not be found out; it is never taken for good.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How a check came out; the value is what is printed."""

    GOOD = "good"
    NOTE = "note"  # it works, and somebody should know this
    PROBLEM = "problem"  # something will not work


@dataclass(frozen=True)
class Finding:
    """One check: a sentence, and what to do about it where something is to be done."""

    check: str
    level: Level
    sentence: str
    cure: str = ""


class Door(Enum):
    """What is behind the path of a socket."""

    LISTENS = "somebody listens there"
    DEAD = "nobody listens there"
    ABSENT = "there is none"
    UNKNOWN = "it cannot be looked at"


@dataclass(frozen=True)
class SocketFacts:
    """One socket of the service, and how it comes to be there."""

    name: str
    path: str
    door: Door
    unit: str  # of systemd, that makes it


@dataclass(frozen=True)
class DirectoryFacts:
    """One directory that the service or a training writes into."""

    path: str
    role: str  # state, sockets, hook, run or vault
    exists: bool | None
    owner: str | None = None
    expected_owner: str | None = None  # None: nobody in particular
    written_by_all: bool = False
    free_bytes: int | None = None
    least_bytes: int = 0  # with less nothing works
    wanted_bytes: int = 0  # with less some of it does not


@dataclass(frozen=True)
class HookFacts:
    """A Python environment that was asked about."""

    python: str
    installed: bool | None
    trouble: str | None = None


@dataclass(frozen=True)
class ScrapeFacts:
    """The daemon's own page and the Prometheus that was named."""

    address: str | None = None  # None: nothing is served
    trouble: str | None = None
    prometheus: str | None = None  # None: none was named
    prometheus_trouble: str | None = None
    scraped: bool | None = None  # whether one of its targets is this daemon


@dataclass(frozen=True)
class Facts:
    """Everything that was found out about one machine."""

    is_root: bool
    attaches: bool  # the configuration lets it go into running processes
    nvml_trouble: str | None
    gpus: int
    gpu_troubles: tuple[str, ...]
    sockets: tuple[SocketFacts, ...]
    daemon_trouble: str | None
    ptrace_scope: int | None  # None: the kernel has no such bound
    ptrace_trouble: str | None
    directories: tuple[DirectoryFacts, ...]
    config_path: str | None
    config_trouble: str | None
    certificate: str | None  # its path
    certificate_trouble: str | None
    scrape: ScrapeFacts
    hooks: tuple[HookFacts, ...]
