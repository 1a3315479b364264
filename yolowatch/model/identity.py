"""Who a process is.

A pid alone is reused; with the boot id and the start time it names one process for ever.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessKey:
    """One process of one boot; `start_ticks` is field 22 of /proc/PID/stat."""

    boot_id: str
    pid: int
    start_ticks: int

    def __str__(self) -> str:
        return f"{self.pid}@{self.start_ticks}"
