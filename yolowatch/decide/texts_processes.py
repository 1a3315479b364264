"""Who else was on the device, as the text of a CUDA failure says it.

torch lists every process that computes there, its own as "this process". In a container it does
not find itself in the list, because the driver numbers processes as the host does: then one of the
others is itself. Where it cannot be told which, nothing is said.

Source: `reportProcessMemoryInfo` in c10/cuda/CUDACachingAllocator.cpp of pytorch/pytorch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from yolowatch.decide.texts import figure_bytes
from yolowatch.model.device import DeviceUser

_LINE = re.compile(
    r"(?:Including non-PyTorch memory, (this process)|Process (\d{1,10}))"
    r" has (\d{1,16}(?:\.\d{1,4})?) ?(bytes|KiB|MiB|GiB|TiB) memory in use\."
)
_MOST_LINES = 64
_CONTEXT_BYTES = 2 << 30  # that a process takes beside torch's allocator, at most


@dataclass(frozen=True)
class Listed:
    """`others` is None where the list does not tell them from the process itself."""

    own_bytes: int | None
    others: tuple[DeviceUser, ...] | None


def listed(text: str, reserved_bytes: int | None) -> Listed:
    """The processes in the text; `reserved_bytes` is what torch held, None where it is unknown."""
    own: int | None = None
    found: list[DeviceUser] = []
    itself = False
    for number, match in enumerate(_LINE.finditer(text)):
        if number >= _MOST_LINES:
            break
        size = figure_bytes(match.group(3), match.group(4))
        if match.group(1):
            itself, own = True, size
        else:
            found.append(DeviceUser(int(match.group(2)), size))
    if not itself and not found:
        return Listed(None, None)
    if itself:
        return Listed(own, tuple(found))
    mine = _itself(found, reserved_bytes)
    if mine is None:
        return Listed(None, None)
    return Listed(mine.used_bytes, tuple(each for each in found if each is not mine))


def _itself(found: list[DeviceUser], reserved_bytes: int | None) -> DeviceUser | None:
    """Which of these is the process that failed: the only one with what torch held and a context
    beside it.
    """
    if len(found) == 1:
        return found[0]
    if reserved_bytes is None:
        return None
    fitting = [
        each
        for each in found
        if each.used_bytes is not None
        and reserved_bytes <= each.used_bytes <= reserved_bytes + _CONTEXT_BYTES
    ]
    return fitting[0] if len(fitting) == 1 else None
