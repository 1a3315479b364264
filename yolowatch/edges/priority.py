"""The I/O priority of a thread: copying checkpoints must not slow the training's own reads."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# ioprio_set(2) has no wrapper in libc. psutil has one, but for whole processes only.
_NUMBERS = {"x86_64": (251, 252), "aarch64": (30, 31), "riscv64": (30, 31), "ppc64le": (273, 274)}
_WHO_PROCESS = 1  # with 0: the calling thread
_CLASS_IDLE = 3 << 13


@contextmanager
def idle_io() -> Iterator[bool]:
    """Let the calling thread's I/O wait for everybody else's; whether that could be set.

    It decides nothing by failing: where the kernel doesn't allow it, the work is done all the same.
    """
    before = io_priority()
    changed = before is not None and _set(_CLASS_IDLE)
    try:
        yield changed
    finally:
        if changed and before is not None:
            _set(before)


def io_priority() -> int | None:
    """The calling thread's I/O priority as the kernel encodes it; None where it is unknown."""
    numbers = _NUMBERS.get(platform.machine())
    if numbers is None or os.name != "posix":
        return None
    value = int(ctypes.CDLL(None).syscall(numbers[1], _WHO_PROCESS, 0))
    return value if value >= 0 else None


def _set(value: int) -> bool:
    set_number = _NUMBERS[platform.machine()][0]
    return int(ctypes.CDLL(None).syscall(set_number, _WHO_PROCESS, 0, value)) == 0
