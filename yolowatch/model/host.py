"""The host's memory, of all and of one run: frozen, in bytes, and None is unknown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunHost:
    """What the processes of one run hold of the host.

    Resident memory is summed over them, so that shared pages count more than once. The control
    group is the innermost one with a limit. /dev/shm is the one that the run sees.
    """

    processes: int | None = None
    resident_bytes: int | None = None
    cgroup_used_bytes: int | None = None
    cgroup_limit_bytes: int | None = None
    shm_used_bytes: int | None = None
    shm_capacity_bytes: int | None = None


@dataclass(frozen=True)
class HostMemory:
    """The machine's own memory; `available_bytes` is what can be had without swapping."""

    capacity_bytes: int | None = None
    available_bytes: int | None = None
