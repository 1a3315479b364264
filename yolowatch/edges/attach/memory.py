"""The memory of another process, and the files that are mapped there."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

_MAX_MAPS_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class Mapping:
    """One line of /proc/PID/maps that a file stands behind."""

    start: int
    end: int
    permissions: str
    offset: int
    inode: int
    path: str


def mappings(pid: int) -> list[Mapping]:
    """What files are mapped in `pid`, in the order of their addresses; raises OSError."""
    with open(f"/proc/{pid}/maps", "rb") as file:
        text = file.read(_MAX_MAPS_BYTES).decode("utf-8", "surrogateescape")
    return list(_parsed(text.splitlines()))


def _parsed(lines: Iterable[str]) -> Iterable[Mapping]:
    for line in lines:
        words = line.split(None, 5)
        if len(words) == 6 and words[5].startswith("/"):
            first, _, last = words[0].partition("-")
            yield Mapping(
                int(first, 16),
                int(last, 16),
                words[1],
                int(words[2], 16),
                int(words[4]),
                words[5].removesuffix(" (deleted)"),
            )


class Memory:
    """The memory of `pid`, open for reading and writing; raises OSError."""

    def __init__(self, pid: int) -> None:
        self.descriptor = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)

    def __enter__(self) -> Memory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self.descriptor)

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes; raises OSError."""
        data = os.pread(self.descriptor, size, address)
        if len(data) != size:
            raise OSError(f"only {len(data)} of {size} bytes are at {address:#x}")
        return data

    def write(self, address: int, data: bytes) -> None:
        """All of it; pages that the process itself may not write become its private copies."""
        if os.pwrite(self.descriptor, data, address) != len(data):
            raise OSError(f"{len(data)} bytes do not fit at {address:#x}")

    def word(self, address: int) -> int:
        """The unsigned 64-bit number there."""
        return int(struct.unpack("<Q", self.read(address, 8))[0])
