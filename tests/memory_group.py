"""A memory control group with a limit, for what the kernel's own killing is tested with.

Of version 1 or 2, whichever this machine has and this user may make a child of.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.hands.strangers import settle

_ROOTS = {1: Path("/sys/fs/cgroup/memory"), 2: Path("/sys/fs/cgroup")}
_LIMITS = {1: "memory.limit_in_bytes", 2: "memory.max"}


@contextmanager
def memory_group(limit_bytes: int | None) -> Iterator[Path | None]:
    """The folder of a new group, whose `cgroup.procs` takes pids; None where none can be made.

    Groups that were made in it go with it; their processes must have ended. None is no limit.
    """
    made = _made(limit_bytes)
    try:
        yield made
    finally:
        if made is not None:
            inner = [each for each in made.rglob("*") if each.is_dir()]
            for folder in (*sorted(inner, key=lambda each: -len(each.parts)), made):
                settle(functools.partial(_removed, folder))


def _removed(folder: Path) -> bool:
    """False while the last of its processes is being taken away."""
    try:
        folder.rmdir()
    except OSError:
        return not folder.exists()
    return True


def _made(limit_bytes: int | None) -> Path | None:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        version = 2 if controllers == "" else 1
        if version == 1 and "memory" not in controllers.split(","):
            continue
        folder = _ROOTS[version] / path.lstrip("/") / f"yolowatch-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            if limit_bytes is None:
                (folder / _LIMITS[version]).read_text()
            else:
                (folder / _LIMITS[version]).write_text(str(limit_bytes))
        except OSError:
            folder.rmdir()
            continue
        return folder
    return None
