"""How many processes the kernel has killed for want of memory around a process: its own witness.

A killed process says nothing, and whoever is not its parent does not even learn of the signal. But
each memory control group counts its dead, of its own limit's failures and of the whole machine's.
A group may go with its last process, so of version 2 those above it are kept too: they count for
all below. A group of version 1 counts its own processes alone: once it is gone nothing is known.
Read with no right beyond a reader's; what cannot be read is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yolowatch.edges.cgroup import groups_of, memory_groups

_TEXT_BYTES = 1 << 16
# In which file a group of this version of the hierarchy counts them, as the line `oom_kill N`.
_FILES = {1: "memory.oom_control", 2: "memory.events"}


@dataclass(frozen=True)
class OomKills:
    """The counters of the groups around one process at one moment, the innermost first."""

    counters: tuple[tuple[Path, int], ...] = ()

    def since(self) -> int | None:
        """How many were killed since then, by the innermost group that is still there."""
        for path, before in self.counters:
            now = _count(path)
            if now is not None:
                return now - before if now >= before else None
        return None


def oom_kills(pid: int) -> OomKills:
    """The counters around `pid` as they are now; none where its groups cannot be read."""
    groups = tuple(memory_groups(groups_of(pid)))
    innermost = next((each for each in groups if each[0] == 1), None)
    counting = (each for each in groups if each[0] == 2 or each == innermost)
    paths = (group / _FILES[version] for version, group in counting)
    found = ((path, _count(path)) for path in paths)
    return OomKills(tuple((path, count) for path, count in found if count is not None))


def _count(path: Path) -> int | None:
    try:
        with open(path, "rb") as file:
            lines = file.read(_TEXT_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.strip().isdigit():
            return int(value)
    return None
