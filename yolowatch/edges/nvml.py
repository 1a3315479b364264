"""What NVIDIA's driver says about the GPUs, of all processes and without CUDA.

Each figure is read by itself: one that a driver doesn't support, or that a lost GPU no longer
answers, is None with its reason and takes no other with it. Unknown is never zero. Calls may hang
in the driver, so they belong in a thread of their own. Whose the processes are is not its
business: see `edges/devices.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import pynvml

from yolowatch.edges.xid import XidEvents
from yolowatch.model.device import THROTTLE_REASONS, DeviceReading, EccErrors, GpuProcess

T = TypeVar("T")

_LASTING_ROUNDS = 5
_HANGS_SECONDS = 1.0  # a driver that lives answers in milliseconds

_REASONS_CALLS = (
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
)
# The bits of the driver's mask, in the order of the words for them.
_REASON_BITS = dict(zip((0x04, 0x08, 0x10, 0x20, 0x40, 0x80), THROTTLE_REASONS, strict=True))


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
        self._xids = XidEvents()
        self._rounds = 0
        self._lasting: dict[int, _Lasting] = {}  # by index

    @property
    def reason(self) -> str | None:
        return self._reason

    def devices(self) -> tuple[DeviceReading, ...]:
        with self._lock:
            problems: list[str] = []
            count = _ask(problems, "the number of GPUs", pynvml.nvmlDeviceGetCount)
            self._reason = problems[0] if problems else None
            self._xids.collect(count or 0)
            if self._rounds % _LASTING_ROUNDS == 0:
                self._lasting.clear()
            self._rounds += 1
            return tuple(self._device(index) for index in range(count or 0))

    def processes(self, index: int) -> tuple[GpuProcess, ...] | None:
        with self._lock:
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                found = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
            except (pynvml.NVMLError, OSError, ValueError):
                return None
            # In a container the driver may not tell who uses how much: pynvml gives None for that.
            return tuple(GpuProcess(int(each.pid), each.usedGpuMemory) for each in found)

    def _device(self, index: int) -> DeviceReading:
        problems: list[str] = []
        handle = _ask(problems, "the GPU", pynvml.nvmlDeviceGetHandleByIndex, index)
        if handle is None:
            reading = DeviceReading(index, answers=False, problems=tuple(problems))
        else:
            if index not in self._lasting:
                self._lasting[index] = _lasting(handle)
            reading = _device(index, handle, self._lasting[index])
        xids, last = self._xids.counts.get(index), self._xids.last.get(index)
        return replace(reading, xids=xids, last_xid=last)

    def close(self) -> None:
        if not self._lock.acquire(timeout=_HANGS_SECONDS):
            return  # another thread hangs in the driver: it ends with the process
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError:
            return  # a lost driver has let go already
        finally:
            self._lock.release()


@dataclass(frozen=True)
class _Lasting:
    """What changes seldom, or is slow to ask for, and so is asked for in a few rounds only."""

    uuid: str | None
    name: str | None
    power_limit_watts: float | None
    throttled: tuple[str, ...] | None
    ecc: EccErrors
    problems: tuple[str, ...]


def _lasting(handle: Any) -> _Lasting:
    problems: list[str] = []
    # What few boards have is not missed where it is not there: it makes no problem.
    allowed = _ask([], "the power limit", pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    return _Lasting(
        _text(_ask(problems, "uuid", pynvml.nvmlDeviceGetUUID, handle)),
        _text(_ask(problems, "name", pynvml.nvmlDeviceGetName, handle)),
        None if allowed is None else allowed / 1000,
        _throttled(handle),
        EccErrors(
            _ecc(handle, pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
            _ecc(handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
        ),
        tuple(problems),
    )


def _device(index: int, handle: Any, lasting: _Lasting) -> DeviceReading:
    problems: list[str] = []
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
        uuid=lasting.uuid,
        name=lasting.name,
        total_bytes=memory.get("total"),
        used_bytes=memory.get("used"),
        reserved_bytes=memory.get("reserved"),
        free_bytes=memory.get("free"),
        utilization_ratio=None if rates is None else rates.gpu / 100,
        temperature_celsius=None if temperature is None else float(temperature),
        power_watts=None if milliwatts is None else milliwatts / 1000,
        power_limit_watts=lasting.power_limit_watts,
        throttled=lasting.throttled,
        ecc=lasting.ecc,
        # A board may be lost although the driver still knows its name.
        answers=bool(memory) or any(each is not None for each in (rates, temperature, milliwatts)),
        problems=(*problems, *lasting.problems),
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


def _throttled(handle: Any) -> tuple[str, ...] | None:
    """Why the clocks are lowered; older drivers know the question by another name."""
    for name in _REASONS_CALLS:
        call = getattr(pynvml, name, None)
        mask = None if call is None else _ask([], "the clocks", call, handle)
        if mask is not None:
            return tuple(reason for bit, reason in _REASON_BITS.items() if mask & bit)
    return None


def _ecc(handle: Any, kind: int) -> int | None:
    call = pynvml.nvmlDeviceGetTotalEccErrors
    count = _ask([], "memory errors", call, handle, kind, pynvml.NVML_VOLATILE_ECC)
    return None if count is None else int(count)


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
