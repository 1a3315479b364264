"""GPUs and who uses them, as NVIDIA's driver and /proc say: frozen, and None is unknown.

A GPU is named by the driver's index, which need not be the number that a training gives it: who
wants the GPUs of a run asks which ones its processes are on (`used_by`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from yolowatch.model.identity import ProcessKey


@dataclass(frozen=True)
class GpuProcess:
    """A process on a GPU by its pid in this process's pid namespace or the host's."""

    pid: int
    used_bytes: int | None


@dataclass(frozen=True)
class DeviceUser:
    """A process that computes on a GPU, and whose it is.

    `process` is None where /proc does not show it: in another pid namespace, or ended since.
    """

    pid: int
    used_bytes: int | None = None
    uid: int | None = None
    user: str | None = None
    process: ProcessKey | None = None


@dataclass(frozen=True)
class EccErrors:
    """Errors of the GPU's memory since its driver was loaded."""

    corrected: int | None = None
    uncorrected: int | None = None


@dataclass(frozen=True)
class DeviceReading:
    """One GPU at one moment; `problems` says why a figure is None, one sentence each.

    `used_bytes` is of all processes and without what the driver keeps for itself
    (`reserved_bytes`); `total_bytes` is the sum of used, reserved and free. `throttled` names why
    its clocks are lowered, of `THROTTLE_REASONS`. `xids` counts the driver's critical errors since
    the daemon asked for them, `last_xid` is the number of the newest. `answers` is False for one
    that is lost.
    """

    index: int
    uuid: str | None = None
    name: str | None = None
    total_bytes: int | None = None
    used_bytes: int | None = None
    reserved_bytes: int | None = None
    free_bytes: int | None = None
    utilization_ratio: float | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    throttled: tuple[str, ...] | None = None
    ecc: EccErrors = EccErrors()
    xids: int | None = None
    last_xid: int | None = None
    answers: bool = True
    users: tuple[DeviceUser, ...] | None = None
    problems: tuple[str, ...] = ()


THROTTLE_REASONS = (
    "power-cap",
    "slowdown",
    "sync-boost",
    "thermal-software",
    "thermal-hardware",
    "power-brake",
)
"""Why the driver lowers clocks below what was asked for; idleness and settings are no reasons."""


def used_by(
    devices: Iterable[DeviceReading], processes: Collection[ProcessKey]
) -> tuple[DeviceReading, ...]:
    """The GPUs on which one of these processes is known to compute."""
    return tuple(
        device
        for device in devices
        if any(
            user.process is not None and user.process in processes for user in device.users or ()
        )
    )
