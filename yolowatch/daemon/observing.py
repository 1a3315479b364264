"""What watches the machine beside the trainings: threads for the GPUs and for the host's memory.

Each may hang in a driver or in /proc without anybody waiting for it; when it was last seen alive is
exported.
"""

from __future__ import annotations

from collections.abc import Callable

from yolowatch.daemon import threads
from yolowatch.daemon.devices import Devices
from yolowatch.daemon.heartbeats import Heartbeats
from yolowatch.daemon.hosts import Hosts
from yolowatch.edges.clock import Clock
from yolowatch.edges.nvml import Nvml
from yolowatch.model.events import Post


class Observers:
    """`start` once the loop listens; `close` has the threads end, waits for none, and lets go of
    the driver.
    """

    def __init__(self, driver: Nvml, clock: Clock, post: Post) -> None:
        self._driver = driver
        self.heartbeats = Heartbeats(clock)
        self.devices = Devices(driver, clock, post=post, beat=self.heartbeats.of("devices"))
        self.hosts = Hosts(clock, post, self.heartbeats.of("host"))

    def start(self, failed: Callable[[str, str], None]) -> None:
        threads.start("devices", self.devices.work, failed)
        threads.start("host", self.hosts.work, failed)

    def close(self) -> None:
        self.devices.close()
        self.hosts.close()
        self._driver.close()
