"""What was around one attempt when it ended, beside what its own hooks said.

Made by the core of the newest readings while the attempt lived; the verdict on its end is drawn
from it. None is unknown: a driver that does not say who uses a device has not said that nobody
does.
"""

from __future__ import annotations

from dataclasses import dataclass

from yolowatch.model.device import DeviceReading, DeviceUser
from yolowatch.model.identity import ProcessKey


@dataclass(frozen=True)
class Around:
    """`device` is the GPU on which the attempt computed, as it was read last; `devices` are all of
    the machine, where they were read just then.
    """

    device: DeviceReading | None = None
    processes: tuple[ProcessKey, ...] = ()  # of the attempt
    earlier: tuple[ProcessKey, ...] = ()  # of the run's earlier attempts
    earlier_capacity_bytes: int | None = None  # what the latest of those could have had
    waited: bool = False  # the same configuration was already tried again after a wait
    xids: int | None = None  # critical errors of the device since the attempt began
    oom_kills: int | None = None  # processes of its control group that the kernel killed for memory
    devices: tuple[DeviceReading, ...] | None = None

    @property
    def others(self) -> tuple[DeviceUser, ...] | None:
        """Who else uses the device, the largest first; None where that is unknown."""
        return others(self.device, {each.pid for each in self.processes})

    @property
    def leftovers(self) -> tuple[DeviceUser, ...]:
        """Processes of earlier attempts that still hold memory of the device."""
        users = self.device.users if self.device is not None else None
        return tuple(each for each in users or () if each.process in self.earlier)


def others(device: DeviceReading | None, pids: set[int]) -> tuple[DeviceUser, ...] | None:
    """Who uses the device beside these processes, the largest first; None where it is unknown."""
    if device is None or device.users is None:
        return None
    found = [each for each in device.users if each.pid not in pids]
    return tuple(sorted(found, key=lambda each: -(each.used_bytes or 0)))
