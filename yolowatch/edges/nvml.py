"""What NVIDIA's driver says about the GPUs, of all processes and without CUDA.

Each figure is read by itself: one that a driver doesn't support, or that a lost GPU no longer
answers, is None with its reason and takes no other with it. Unknown is never zero. Calls may hang
in the driver, so they belong in a thread of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pynvml

T = TypeVar("T")


@dataclass(frozen=True)
class DeviceReading:
    """One GPU at one moment; `problems` says why a figure is None, one sentence each.

    `used_bytes` is of all processes and without what the driver keeps for itself
    (`reserved_bytes`); `total_bytes` is the sum of used, reserved and free.
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
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class GpuProcess:
    """A process on a GPU by its pid in this process's pid namespace or the host's."""

    pid: int
    used_bytes: int | None


class Nvml(Protocol):
    """The port: the driver behind it in the product, fakes in tests of others."""

    @property
    def reason(self) -> str | None:
        """Why there is nothing to read; None where there is."""

    def devices(self) -> tuple[DeviceReading, ...]:
        """All GPUs, in the driver's order; none where their number cannot be known."""

    def processes(self, index: int) -> tuple[GpuProcess, ...] | None:
        """The processes that compute on a GPU; None where that cannot be known."""

    def close(self) -> None:
        """Let go of the driver."""


@dataclass(frozen=True)
class NoNvml:
    """A machine without a usable NVIDIA driver: nothing is known, and this is why."""

    reason: str | None

    def devices(self) -> tuple[DeviceReading, ...]:
        return ()

    def processes(self, index: int) -> tuple[GpuProcess, ...] | None:
        return None

    def close(self) -> None:
        """There is nothing to let go of."""


def open_nvml() -> Nvml:
    """The driver of this machine, or `NoNvml` with the reason; it raises nothing."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return NoNvml(f"no NVIDIA driver can be asked: {_words(error)}")
    return DriverNvml()


class DriverNvml:
    """The real driver, initialised by `open_nvml`; usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        return self._reason

    def devices(self) -> tuple[DeviceReading, ...]:
        with self._lock:
            problems: list[str] = []
            count = _ask(problems, "the number of GPUs", pynvml.nvmlDeviceGetCount)
            self._reason = problems[0] if problems else None
            return tuple(_device(index) for index in range(count or 0))

    def processes(self, index: int) -> tuple[GpuProcess, ...] | None:
        with self._lock:
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                found = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
            except (pynvml.NVMLError, OSError, ValueError):
                return None
            # In a container the driver may not tell who uses how much: pynvml gives None for that.
            return tuple(GpuProcess(int(each.pid), each.usedGpuMemory) for each in found)

    def close(self) -> None:
        with self._lock:
            try:
                pynvml.nvmlShutdown()
            except pynvml.NVMLError:
                return  # a lost driver has let go already


def _device(index: int) -> DeviceReading:
    problems: list[str] = []
    handle = _ask(problems, "the GPU", pynvml.nvmlDeviceGetHandleByIndex, index)
    if handle is None:
        return DeviceReading(index, problems=tuple(problems))
    memory = _memory(problems, handle)
    rates = _ask(problems, "utilization", pynvml.nvmlDeviceGetUtilizationRates, handle)
    temperature = _ask(
        problems,
        "temperature",
        pynvml.nvmlDeviceGetTemperature,
        handle,
        pynvml.NVML_TEMPERATURE_GPU,
    )
    milliwatts = _ask(problems, "power", pynvml.nvmlDeviceGetPowerUsage, handle)
    return DeviceReading(
        index=index,
        uuid=_text(_ask(problems, "uuid", pynvml.nvmlDeviceGetUUID, handle)),
        name=_text(_ask(problems, "name", pynvml.nvmlDeviceGetName, handle)),
        total_bytes=memory.get("total"),
        used_bytes=memory.get("used"),
        reserved_bytes=memory.get("reserved"),
        free_bytes=memory.get("free"),
        utilization_ratio=None if rates is None else rates.gpu / 100,
        temperature_celsius=None if temperature is None else float(temperature),
        power_watts=None if milliwatts is None else milliwatts / 1000,
        problems=tuple(problems),
    )


def _memory(problems: list[str], handle: Any) -> dict[str, int]:
    """Total, used, free and, from drivers that tell it, reserved."""
    get = pynvml.nvmlDeviceGetMemoryInfo
    second = getattr(pynvml, "nvmlMemory_v2", None)
    memory = None if second is None else _ask([], "memory", get, handle, version=second)
    names: tuple[str, ...] = ("total", "used", "reserved", "free")
    if memory is None:
        # Drivers before 510. Their `used` holds the reserved part too.
        memory = _ask(problems, "memory", get, handle)
        names = ("total", "used", "free")
    if memory is None or not memory.total:
        return {}
    return {name: int(getattr(memory, name)) for name in names}


def _ask(problems: list[str], what: str, function: Callable[..., T], *a: Any, **k: Any) -> T | None:
    try:
        return function(*a, **k)
    except (pynvml.NVMLError, OSError, ValueError) as error:
        problems.append(f"{what} cannot be read: {_words(error)}")
        return None


def _words(error: Exception) -> str:
    try:
        return str(error)
    except (pynvml.NVMLError, OSError, ValueError):  # the text itself is asked of the library
        return type(error).__name__


def _text(value: object) -> str | None:
    """Older pynvml gives bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)
