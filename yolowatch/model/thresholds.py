"""From when on something is worth a verdict: the thresholds of every detector, with their defaults.

A part is of the device's capacity unless it says otherwise. What holds for `…_seconds` is said once
and then not again before `cooldown_seconds` have passed. `config.thresholds` reads them from the
policy file and says there what each means.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Frozen, part of the policy."""

    near_oom_headroom: float = 0.05
    near_oom_seconds: float = 30.0
    near_oom_probability: float = 0.5  # of a forecast
    thrashing_seconds: float = 5.0
    fragmentation_part: float = 0.2
    fragmentation_seconds: float = 60.0
    leak_epochs: int = 4
    leak_part: float = 0.02  # of what was in use between two batches at first
    dense_part: float = 0.1  # of the peak at first
    dense_boxes: float = 1.5  # times as many boxes
    neighbour_part: float = 0.05
    neighbour_seconds: float = 10.0
    neighbour_wait_seconds: float = 3600.0
    stalled_rank_seconds: float = 300.0
    shared_memory_free: float = 0.05  # of /dev/shm
    shared_memory_seconds: float = 10.0
    host_leak_part: float = 0.25  # of what the run held at first
    host_leak_seconds: float = 1800.0
    free_memory_mib: int = 512
    cooldown_seconds: float = 1800.0
