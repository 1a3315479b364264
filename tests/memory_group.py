"""A memory control group with a limit, for what the kernel's own killing is tested with.

Of version 1 or 2, whichever this machine has and this user may make a child of.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOTS = {1: Path("/sys/fs/cgroup/memory"), 2: Path("/sys/fs/cgroup")}
_LIMITS = {1: "memory.limit_in_bytes", 2: "memory.max"}


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[Path | None]:
    """The folder of a new group, whose `cgroup.procs` takes pids; None where none can be made."""
    made = _made(limit_bytes)
    try:
        yield made
    finally:
        if made is not None:
            made.rmdir()


def _made(limit_bytes: int) -> Path | None:
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
            (folder / _LIMITS[version]).write_text(str(limit_bytes))
        except OSError:
            folder.rmdir()
            continue
        return folder
    return None
