"""The memory control groups around a process, of both versions of the hierarchy.

It says which folders they are; what stands in their files is read by whoever needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from yolowatch.edges.capture import read_cgroups

_ROOTS = {1: Path("/sys/fs/cgroup/memory"), 2: Path("/sys/fs/cgroup")}


def memory_groups(pid: int) -> Iterator[tuple[int, Path]]:
    """(version, folder) of each group around `pid`, from the innermost one up to its root."""
    try:
        groups = read_cgroups(pid)
    except OSError:
        return
    for controllers, path in groups:
        version = 2 if controllers == "" else 1
        if version == 1 and "memory" not in controllers.split(","):
            continue
        folder = Path(path.lstrip("/"))
        for level in (folder, *folder.parents):
            yield version, _ROOTS[version] / level
