"""Waits until a failed attempt has given a device's memory back; needs nobody's rights."""

from __future__ import annotations

from collections.abc import Sequence

from yolowatch.edges.clock import Clock
from yolowatch.edges.nvml import Nvml
from yolowatch.model.identity import ProcessKey

_POLL_SECONDS = 0.2


def wait_for_memory(
    device: str | None, processes: Sequence[ProcessKey], nvml: Nvml, clock: Clock, seconds: float
) -> str:
    """Until none of `processes` is on the device, for `seconds` at most; what was waited for.

    An unreadable device counts as not yet free.
    """
    if device is None or not device.startswith("cuda"):
        return "nothing to wait for: the memory of a CPU process ends with it"
    if nvml.reason is not None:
        return f"not waited, the processes are gone: {nvml.reason}"
    pids = {process.pid for process in processes}
    deadline = clock.monotonic() + seconds
    while True:
        holding = _holding(pids, nvml)
        if holding is not None and not holding:
            return "the device's memory is back"
        if clock.monotonic() >= deadline:
            return "went on: the device's memory was not seen to be back in time"
        clock.sleep(_POLL_SECONDS)


def _holding(pids: set[int], nvml: Nvml) -> set[int] | None:
    """Which of these still hold memory on any device; None where that cannot be read."""
    holding: set[int] = set()
    readings = nvml.devices()
    if not readings:
        return None
    for reading in readings:
        users = nvml.processes(reading.index)
        if users is None:
            return None
        holding |= {user.pid for user in users} & pids
    return holding
