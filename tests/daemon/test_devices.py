"""The GPUs that are shown are those of a moment ago, or none where the driver hangs."""

from __future__ import annotations

import os
import threading

from tests.daemon.parts import FakeClock
from yolowatch.daemon.devices import Devices
from yolowatch.edges.nvml import DeviceReading, GpuProcess, NoNvml
from yolowatch.edges.proc import process_key
from yolowatch.model.device import DeviceUser, used_by
from yolowatch.model.events import DevicesSeen, Event


class Driver:
    """Answers once, then hangs until it is let go; this very process is on its GPU."""

    reason: str | None = None

    def __init__(self) -> None:
        self.asked = 0
        self.let_go = threading.Event()

    def devices(self) -> tuple[DeviceReading, ...]:
        self.asked += 1
        if self.asked > 1:
            self.let_go.wait(30)
        return (DeviceReading(0, used_bytes=self.asked), DeviceReading(1, answers=False))

    def processes(self, index: int) -> tuple[GpuProcess, ...] | None:
        assert index == 0, "a lost GPU is asked nothing more"
        return (GpuProcess(os.getpid(), 5), GpuProcess(1 << 30, None))

    def close(self) -> None:
        pass


def test_a_driver_that_hangs_costs_its_thread_and_its_readings_only() -> None:
    clock, driver = FakeClock(), Driver()
    posted: list[Event] = []
    beats: list[float] = []
    devices = Devices(
        driver,
        clock,
        every_seconds=0.001,
        post=lambda event: posted.append(event) is None,
        beat=lambda: beats.append(clock.now),
    )
    assert devices.readings() == ()
    thread = threading.Thread(target=devices.work)
    thread.start()
    while driver.asked < 2:
        pass
    assert [each.used_bytes for each in devices.readings()] == [1, None]
    assert devices.answers is True
    clock.sleep(60)
    assert devices.readings() == ()
    assert devices.answers is False
    assert len(beats) == len(posted) == 1
    devices.close()
    driver.let_go.set()
    thread.join()
    assert devices.readings() != ()
    driver.reason = "the number of GPUs cannot be read: GPU is lost"
    assert devices.answers is False


def test_who_uses_a_device_is_told_with_the_reading() -> None:
    posted: list[Event] = []
    driver = Driver()
    devices = Devices(driver, FakeClock(), post=lambda event: posted.append(event) is None)
    thread = threading.Thread(target=devices.work)
    thread.start()
    while not posted:
        pass
    devices.close()
    driver.let_go.set()
    thread.join()
    seen = posted[0]
    assert isinstance(seen, DevicesSeen)
    mine, hidden = seen.devices[0].users or ()
    me = process_key(os.getpid())
    assert me is not None
    assert (mine.process, mine.used_bytes, mine.uid) == (me, 5, os.geteuid())
    assert hidden == DeviceUser(1 << 30), "what /proc does not show is a pid and no more"
    assert used_by(seen.devices, {me}) == seen.devices[:1]
    assert used_by(seen.devices, ()) == ()


def test_where_there_is_no_driver_nobody_goes_on_asking() -> None:
    posted: list[Event] = []
    nothing = NoNvml("no NVIDIA driver can be asked")
    devices = Devices(nothing, FakeClock(), post=lambda event: posted.append(event) is None)
    devices.work()
    assert devices.readings() == ()
    assert devices.answers is None
    assert posted == []
