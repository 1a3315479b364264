"""Waits until a failed attempt has given a device's memory back; needs nobody's rights.

The driver is asked in a thread of its own, one question at a time: it may hang, and a run must not
wait for it longer than the policy says.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from yolowatch.edges.clock import Clock
from yolowatch.edges.nvml import Nvml
from yolowatch.model.identity import ProcessKey

_POLL_SECONDS = 0.2
_ANSWER_SECONDS = 1.0  # a driver that lives answers in milliseconds


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
    question: _Question | None = None
    while True:
        if question is None or question.answered:
            question = _Question(pids, nvml)
        if question.holding is not None and not question.holding:
            return "the device's memory is back"
        if clock.monotonic() >= deadline:
            return "went on: the device's memory was not seen to be back in time"
        clock.sleep(_POLL_SECONDS)


class _Question:
    """Which of these processes hold memory; `holding` is None while that is not known."""

    def __init__(self, pids: set[int], nvml: Nvml) -> None:
        self.holding: set[int] | None = None
        self._thread = threading.Thread(target=self._ask, args=(pids, nvml), daemon=True)
        self._thread.start()
        self._thread.join(_ANSWER_SECONDS)

    @property
    def answered(self) -> bool:
        return not self._thread.is_alive()

    def _ask(self, pids: set[int], nvml: Nvml) -> None:
        self.holding = _holding(pids, nvml)


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
