"""The GPUs with the processes on them and whose those are: the driver's word and /proc's together.

The driver numbers processes as the host does; where this process has a pid namespace of its own,
/proc does not show them, and then only pid and bytes are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from yolowatch.edges import names, proc
from yolowatch.edges.nvml import Nvml
from yolowatch.model.device import DeviceReading, DeviceUser, GpuProcess

_user_name = lru_cache(maxsize=1024)(names.user_name)  # a directory of users may answer slowly
_KNOWN_ROUNDS = 5


class DeviceWatch:
    """The GPUs of one driver, round after round.

    Whose a process is stays known while the driver lists it without a gap, for a few rounds: a pid
    cannot be another's in between without having been away from the GPU.
    """

    def __init__(self, driver: Nvml) -> None:
        self._driver = driver
        self._rounds = 0
        self._known: dict[int, DeviceUser] = {}

    def look(self) -> tuple[DeviceReading, ...]:
        """All GPUs, each with its users; None for these where the driver does not tell."""
        before = self._known if self._rounds % _KNOWN_ROUNDS else {}
        self._rounds += 1
        found = tuple(self._with_users(reading, before) for reading in self._driver.devices())
        self._known = {user.pid: user for each in found for user in each.users or ()}
        return found

    def _with_users(
        self, reading: DeviceReading, before: Mapping[int, DeviceUser]
    ) -> DeviceReading:
        found = self._driver.processes(reading.index) if reading.answers else None
        if found is None:
            return reading
        return replace(reading, users=tuple(_user(each, before.get(each.pid)) for each in found))


def _user(found: GpuProcess, before: DeviceUser | None) -> DeviceUser:
    if before is not None and before.process is not None:
        return replace(before, used_bytes=found.used_bytes)
    process, uid = proc.process_key(found.pid), proc.owner(found.pid)
    if process is None or uid is None:
        return DeviceUser(found.pid, found.used_bytes)
    return DeviceUser(found.pid, found.used_bytes, uid, _user_name(uid), process)
