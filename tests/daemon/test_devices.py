"""The GPUs that are shown are those of a moment ago, or none where the driver hangs."""

from __future__ import annotations

import threading

from tests.daemon.parts import FakeClock
from yolowatch.daemon.devices import Devices
from yolowatch.edges.nvml import DeviceReading, GpuProcess, NoNvml


class Driver:
    """Answers once, then hangs until it is let go."""

    reason = None

    def __init__(self) -> None:
        self.asked = 0
        self.let_go = threading.Event()

    def devices(self) -> tuple[DeviceReading, ...]:
        self.asked += 1
        if self.asked > 1:
            self.let_go.wait(30)
        return (DeviceReading(0, used_bytes=self.asked),)

    def processes(self, index: int) -> tuple[GpuProcess, ...] | None:
        return None

    def close(self) -> None:
        pass


def test_a_driver_that_hangs_costs_its_thread_and_its_readings_only() -> None:
    clock, driver = FakeClock(), Driver()
    devices = Devices(driver, clock, every_seconds=0.001)
    assert devices.readings() == ()
    thread = threading.Thread(target=devices.work)
    thread.start()
    while driver.asked < 2:
        pass
    assert [each.used_bytes for each in devices.readings()] == [1]
    clock.sleep(60)
    assert devices.readings() == ()
    devices.close()
    driver.let_go.set()
    thread.join()
    assert devices.readings() != ()


def test_where_there_is_no_driver_nobody_goes_on_asking() -> None:
    devices = Devices(NoNvml("no NVIDIA driver can be asked"), FakeClock())
    devices.work()
    assert devices.readings() == ()
