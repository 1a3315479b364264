"""Who uses a GPU: by real processes, while the driver lists them and no longer."""

from __future__ import annotations

import os
import subprocess

from yolowatch.edges import proc
from yolowatch.edges.devices import DeviceWatch
from yolowatch.edges.nvml import NoNvml
from yolowatch.model.device import DeviceReading, DeviceUser, GpuProcess


class Driver(NoNvml):
    """One GPU with these processes; None is a driver that does not tell."""

    def __init__(self) -> None:
        super().__init__(None)
        object.__setattr__(self, "found", ())

    def devices(self) -> tuple[DeviceReading, ...]:
        return (DeviceReading(0),)

    def processes(self, index: int) -> tuple[GpuProcess, ...] | None:
        return self.found

    def has(self, *found: GpuProcess) -> None:
        object.__setattr__(self, "found", found)


def users(watch: DeviceWatch) -> tuple[DeviceUser, ...]:
    (device,) = watch.look()
    assert device.users is not None
    return device.users


def test_bytes_are_of_this_round_and_names_of_a_process_that_is_there() -> None:
    driver = Driver()
    watch = DeviceWatch(driver)
    me = proc.process_key(os.getpid())
    for used in (5, 6, None, 8, 9, 10, 11):
        driver.has(GpuProcess(os.getpid(), used))
        (user,) = users(watch)
        assert (user.used_bytes, user.process, user.uid) == (used, me, os.geteuid())


def test_a_process_that_was_away_is_looked_up_anew() -> None:
    driver = Driver()
    watch = DeviceWatch(driver)
    child = subprocess.Popen(["sleep", "600"])
    try:
        driver.has(GpuProcess(child.pid, 5))
        assert users(watch)[0].process == proc.process_key(child.pid)
    finally:
        child.kill()
        child.wait()
    driver.has()
    assert users(watch) == ()
    driver.has(GpuProcess(child.pid, 5))
    assert users(watch) == (DeviceUser(child.pid, 5),), "whose it is now is not known"


def test_one_that_ended_is_not_believed_for_ever() -> None:
    driver = Driver()
    watch = DeviceWatch(driver)
    child = subprocess.Popen(["sleep", "600"])
    driver.has(GpuProcess(child.pid, 5))
    assert users(watch)[0].process is not None
    child.kill()
    child.wait()
    seen = [users(watch)[0].process for _ in range(6)]
    assert seen[-1] is None


def test_a_driver_that_does_not_tell() -> None:
    driver = Driver()
    object.__setattr__(driver, "found", None)
    assert DeviceWatch(driver).look() == (DeviceReading(0),)
