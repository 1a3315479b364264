"""The driver's critical errors (XID), counted for each GPU as they happen.

They come as events of the driver's own, which keeps them until they are taken; nothing here waits
for one. What one means is not said here: an XID is a cause, and never an out-of-memory failure. A
GPU or a driver that tells of none has no count: unknown is not zero.
"""

from __future__ import annotations

from typing import Any

import pynvml

_MOST_AT_ONCE = 64  # of a GPU that has gone mad


class XidEvents:
    """`counts` and `last` by the index of the GPU; all calls from one thread at a time."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.last: dict[int, int] = {}
        self._events: Any = None
        self._asked: set[int] = set()

    def collect(self, gpus: int) -> None:
        """Take what has happened since the last call, on the first so many GPUs."""
        for index in range(gpus):
            if index not in self._asked:
                self._asked.add(index)
                self._register(index)
        for _ in range(_MOST_AT_ONCE if self.counts else 0):
            if not self._take():
                return

    def _register(self, index: int) -> None:
        try:
            if self._events is None:
                self._events = pynvml.nvmlEventSetCreate()
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            wanted = pynvml.nvmlEventTypeXidCriticalError
            pynvml.nvmlDeviceRegisterEvents(handle, wanted, self._events)
        except (pynvml.NVMLError, OSError, ValueError):
            return  # a GPU that tells of none, or a driver before there were events
        self.counts[index] = 0

    def _take(self) -> bool:
        """Whether there was an event; one of a GPU that cannot be named any more is dropped."""
        try:
            event = pynvml.nvmlEventSetWait_v2(self._events, 0)
        except (pynvml.NVMLError, OSError, ValueError):
            return False  # none is there, which is an error to this driver, or the GPU is lost
        if event.eventType != pynvml.nvmlEventTypeXidCriticalError:
            return True
        try:
            index = int(pynvml.nvmlDeviceGetIndex(event.device))
        except (pynvml.NVMLError, OSError, ValueError):
            return True
        if index in self.counts:
            self.counts[index] += 1
            self.last[index] = int(event.eventData)
        return True
