"""How a process was started, as far as it is needed to start it once more.

Kept in memory only, by the hands: the environment holds secrets, and the core never sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from yolowatch.model.identity import ProcessKey

FILE, TERMINAL, NULL, LOST = "file", "terminal", "null", "lost"
"""Where an output went; a pipe or socket is lost, since its other end cannot be had again."""


@dataclass(frozen=True)
class Output:
    """Where one output of a process went; `device` and `inode` tell the file from a later one."""

    kind: str = LOST
    path: str | None = None
    device: int | None = None
    inode: int | None = None


@dataclass(frozen=True)
class Captured:
    """Everything that a process got from whoever started it."""

    process: ProcessKey
    executable: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    cwd: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    limits: tuple[tuple[int, int, int], ...]  # resource, soft, hard; -1 is unlimited
    umask: int
    affinity: tuple[int, ...]
    nice: int
    oom_score_adj: int
    cgroups: tuple[tuple[str, str], ...] = ()  # controllers and path, as /proc/PID/cgroup has them
    stdout: Output = Output()
    stderr: Output = Output()
    memory_max_bytes: int | None = None  # of its unit, beside what holds for a whole slice
