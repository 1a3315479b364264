"""The control groups around a process, those of memory in both versions of the hierarchy.

It says which folders they are; what stands in their files is read by whoever needs it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

Groups = tuple[tuple[str, str], ...]
"""Controllers and path of each control group of a process."""

_ROOTS = {1: Path("/sys/fs/cgroup/memory"), 2: Path("/sys/fs/cgroup")}


def read_cgroups(pid: int) -> Groups:
    """All control groups of a process; raises OSError."""
    with open(f"/proc/{pid}/cgroup", "rb") as file:
        lines = os.fsdecode(file.read()).splitlines()
    columns = [line.split(":", 2) for line in lines]
    return tuple((each[1], each[2]) for each in columns if len(each) == 3)


def groups_of(pid: int) -> Groups:
    """All control groups of a process; none where they cannot be read."""
    try:
        return read_cgroups(pid)
    except OSError:
        return ()


def is_slice(group: Path) -> bool:
    """Whether this folder is a slice's, or the root: what leaves a unit for another one in the same
    slice is still in there.
    """
    root = next(each for each in _ROOTS.values() if group.is_relative_to(each))
    return all(part.endswith(".slice") for part in group.relative_to(root).parts)


def memory_groups(groups: Groups) -> Iterator[tuple[int, Path]]:
    """(version, folder) of each memory group of these, from the innermost one up to its root."""
    for controllers, path in groups:
        version = 2 if controllers == "" else 1
        if version == 1 and "memory" not in controllers.split(","):
            continue
        folder = Path(path.lstrip("/"))
        for level in (folder, *folder.parents):
            yield version, _ROOTS[version] / level
