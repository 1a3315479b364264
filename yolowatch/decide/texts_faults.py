"""The texts of failures that are no lack of memory, whatever else they say.

An illegal access, a failed assertion on the device or a device that is lost is never answered with
a smaller batch. Only whole, anchored forms count, as in `texts`.

Sources: the CUDA runtime's error strings (driver_types.h, cudaError), as torch quotes them;
tests/decide/corpus quotes one real report of each.
"""

from __future__ import annotations

import re

_TYPES = frozenset({"RuntimeError", "AcceleratorError"})
_STRINGS = (
    "device-side assert triggered",
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "misaligned address",
    "invalid program counter",
    "unspecified launch failure",
    "the launch timed out and was terminated",
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error detected during the execution",
    "hardware stack error",
    "operation not supported on global/shared address space",
    "unknown error",
)
_WORDS = "|".join(map(re.escape, _STRINGS))
_FAULT = re.compile(
    rf"(?:CUDA|HIP) error: ({_WORDS})(?=\s*(?:\Z|\n|Exception raised))"
    rf"|cuda runtime error \(\d{{1,4}}\) : ({_WORDS})(?= at )"
)


def device_fault(exception: str, text: str) -> str | None:
    """What went wrong on the device, in CUDA's own words; None where it is no such failure."""
    if exception.rpartition(".")[2] not in _TYPES:
        return None
    match = _FAULT.match(text)
    return None if match is None else match.group(1) or match.group(2)
