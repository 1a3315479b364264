"""The host's memory: the machine's, and what the processes of one run hold of it.

Read from /proc and the control groups without any right beyond a reader's; what cannot be read is
None. It sums and limits nothing, and knows no threshold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from yolowatch.edges import proc
from yolowatch.edges.cgroup import Groups, groups_of, is_slice, memory_groups
from yolowatch.model.host import HostMemory, RunHost
from yolowatch.model.identity import ProcessKey

Limit = tuple[int | None, int | None]
"""Used and limit, in bytes."""

_TEXT_BYTES = 1 << 20
_UNLIMITED = 1 << 60
_SHM = "/dev/shm"  # noqa: S108 (it is only looked at)
# The files of a memory control group: what is used and the limit, by the version of the hierarchy.
_FILES = {
    1: ("memory.usage_in_bytes", "memory.limit_in_bytes"),
    2: ("memory.current", "memory.max"),
}


def machine() -> HostMemory:
    """The memory of this machine."""
    found: dict[str, int] = {}
    for line in (_text("/proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[0].isdigit():
            found[name] = int(words[0]) * 1024
    return HostMemory(found.get("MemTotal"), found.get("MemAvailable"))


def of_runs(runs: Mapping[str, ProcessKey]) -> dict[str, RunHost]:
    """What each run holds, by the process that was started for it; one that is gone is left out."""
    children = proc.children() if runs else None
    tightest = cache(_tightest)  # many runs may be in one group
    found = {}
    for run, process in runs.items():
        if children is not None and proc.is_alive(process):
            found[run] = of_processes((process, *children.descendants(process.pid)), tightest)
    return found


def of_processes(
    processes: Sequence[ProcessKey], tightest: Callable[[Groups], Limit] | None = None
) -> RunHost:
    """What these hold together; the first says in which control group and with which /dev/shm.

    `tightest` may remember what it found in a group.
    """
    resident = [proc.resident_bytes(each.pid) for each in processes]
    known = [each for each in resident if each is not None]
    used, limit = (tightest or _tightest)(groups_of(processes[0].pid))
    shm_used, shm_capacity = _shared_memory(processes[0].pid)
    return RunHost(
        processes=len(known) or None,
        resident_bytes=sum(known) if known else None,
        cgroup_used_bytes=used,
        cgroup_limit_bytes=limit,
        shm_used_bytes=shm_used,
        shm_capacity_bytes=shm_capacity,
    )


def unit_limit_bytes(pid: int) -> int | None:
    """The tightest limit of the groups that `pid` would leave with its unit, not of its slices."""
    limits = [limit for group, _, limit in _levels(groups_of(pid)) if not is_slice(group)]
    return min(limits, default=None)


def _tightest(groups: Groups) -> Limit:
    """What is used of the tightest limit of these groups, and that limit."""
    levels = [(limit, used) for _, used, limit in _levels(groups)]
    if not levels:
        return None, None
    limit, used = min(levels, key=lambda level: level[0] - level[1])
    return used, limit


def _levels(groups: Groups) -> Iterator[tuple[Path, int, int]]:
    """(folder, used, limit) of each memory control group that has a limit."""
    for version, group in memory_groups(groups):
        used, limit = (_number(group / name) for name in _FILES[version])
        if used is not None and limit is not None and limit < _UNLIMITED:
            yield group, used, limit


def _shared_memory(pid: int) -> tuple[int | None, int | None]:
    """Used and capacity of the /dev/shm that `pid` sees, where it is what it should be."""
    mounts = _text(f"/proc/{pid}/mountinfo") or ""
    fields = [line.split() for line in mounts.splitlines()]
    kinds = [each[each.index("-") + 1] for each in fields if each[4:5] == [_SHM] and "-" in each]
    if kinds[-1:] != ["tmpfs"]:
        return None, None  # not mounted, or something that may hang when it is asked
    try:
        found = os.statvfs(f"/proc/{pid}/root{_SHM}")
    except OSError:  # another user's
        return None, None
    return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_blocks * found.f_frsize


def _number(path: Path) -> int | None:
    text = (_text(str(path)) or "").strip()
    return int(text) if text.isdigit() else None  # "max" is no limit


def _text(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read(_TEXT_BYTES))
    except OSError:
        return None
