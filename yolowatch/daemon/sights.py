"""What is known of a run beside what its hooks say: its GPUs and the host's memory.

Owned by the core, which folds the events in; it decides nothing. None is unknown: nobody has looked
yet, or what was seen is too old to be believed, which whoever reads `at` judges.
"""

from __future__ import annotations

from yolowatch.model import events
from yolowatch.model.device import DeviceReading
from yolowatch.model.host import RunHost


class Sights:
    """Of the run with this id."""

    def __init__(self, run: str) -> None:
        self._run = run
        self.devices: tuple[DeviceReading, ...] | None = None  # with who uses them
        self.devices_at: float | None = None
        self.host: RunHost | None = None
        self.host_at: float | None = None

    def take(self, event: events.Event) -> bool:
        """Whether the event was one of these, and is folded in."""
        match event:
            case events.DevicesSeen():
                self.devices, self.devices_at = event.devices, event.at
            case events.HostSeen():
                self.host, self.host_at = event.runs.get(self._run), event.at
            case _:
                return False
        return True
