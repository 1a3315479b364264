"""The GPUs with the processes on them and whose those are: the driver's word and /proc's together.

The driver numbers processes as the host does; where this process has a pid namespace of its own,
/proc does not show them, and then only pid and bytes are known.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from yolowatch.edges import names, proc
from yolowatch.edges.nvml import Nvml
from yolowatch.model.device import DeviceReading, DeviceUser, GpuProcess

_user_name = lru_cache(maxsize=1024)(names.user_name)  # a directory of users may answer slowly


def devices(driver: Nvml) -> tuple[DeviceReading, ...]:
    """All GPUs, each with its users; None for these where the driver does not tell."""
    return tuple(_with_users(driver, reading) for reading in driver.devices())


def _with_users(driver: Nvml, reading: DeviceReading) -> DeviceReading:
    if not reading.answers:
        return reading
    found = driver.processes(reading.index)
    return reading if found is None else replace(reading, users=tuple(map(_user, found)))


def _user(found: GpuProcess) -> DeviceUser:
    process, uid = proc.process_key(found.pid), proc.owner(found.pid)
    if process is None or uid is None:
        return DeviceUser(found.pid, found.used_bytes)
    return DeviceUser(found.pid, found.used_bytes, uid, _user_name(uid), process)
