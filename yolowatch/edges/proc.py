"""What /proc says about processes.

Every read is bounded, and whatever cannot be read is None: gone, forbidden and malformed look alike
to a caller who may only act on what is known. It signals nobody.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from yolowatch.model.identity import ProcessKey

_READ_BYTES = 64 * 1024
_ENDED_STATES = ("Z", "X", "x")  # zombie and dead: the process runs no more


@dataclass(frozen=True)
class ProcessMemory:
    """What one process holds; `data_bytes` is the figure that RLIMIT_DATA counts."""

    resident_bytes: int | None
    data_bytes: int | None
    address_space_bytes: int | None


@dataclass(frozen=True)
class Limits:
    """Soft resource limits of a process in bytes; None is unlimited (unknown is no `Limits`)."""

    data_bytes: int | None
    address_space_bytes: int | None
    locked_bytes: int | None


@dataclass(frozen=True)
class _Stat:
    state: str
    parent_pid: int
    start_ticks: int
    terminal: int


@cache
def boot_id() -> str | None:
    """The kernel's name for this boot: with it a pid and a start time are unique for ever."""
    text = _read("/proc/sys/kernel/random/boot_id")
    return text.strip() or None if text is not None else None


def process_key(pid: int) -> ProcessKey | None:
    """Who `pid` is at this moment, also of a zombie; None where that cannot be known."""
    boot, stat = boot_id(), _stat(pid)
    if boot is None or stat is None:
        return None
    return ProcessKey(boot, pid, stat.start_ticks)


def is_alive(key: ProcessKey) -> bool | None:
    """Whether this very process still runs: a zombie does not; None where it cannot be known."""
    boot = boot_id()
    if boot is None:
        return None
    if boot != key.boot_id:
        return False
    stat = _stat(key.pid)
    if stat is not None:
        return stat.start_ticks == key.start_ticks and stat.state not in _ENDED_STATES
    return None if _pid_exists(key.pid) else False


def started_at(key: ProcessKey) -> float | None:
    """When this process was started, in seconds since 1970 UTC; it may have ended since.

    None for one of an earlier boot.
    """
    text = _read("/proc/stat")
    if text is None or boot_id() != key.boot_id:
        return None
    booted = next((line.split()[1] for line in text.splitlines() if line[:6] == "btime "), None)
    return None if booted is None else int(booted) + key.start_ticks / os.sysconf("SC_CLK_TCK")


def parent_pid(pid: int) -> int | None:
    """The parent's pid; 0 where the parent is outside this pid namespace."""
    stat = _stat(pid)
    return None if stat is None else stat.parent_pid


def pids() -> tuple[int, ...]:
    """Every process that can be seen now."""
    return tuple(int(name) for name in _names("/proc") if name.isdigit())


def command_line(pid: int) -> tuple[str, ...] | None:
    """The words that `pid` was started with; empty for a zombie or a thread of the kernel."""
    text = _read(f"/proc/{pid}/cmdline")
    if text is None:
        return None
    return tuple(text.removesuffix("\0").split("\0")) if text else ()


def owner(pid: int) -> int | None:
    """The effective uid of `pid`."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def has_terminal(pid: int) -> bool | None:
    """Whether `pid` has a controlling terminal."""
    stat = _stat(pid)
    return None if stat is None else stat.terminal != 0


def descendants(pid: int) -> tuple[ProcessKey, ...]:
    """Children, grandchildren and so on of `pid` that can be seen now, parents before children.

    A process whose parent died belongs to another one and is not found.
    """
    return children().descendants(pid)


class Children:
    """Which processes each process has started, as one look at /proc found it."""

    def __init__(self, boot: str | None, table: Mapping[int, Sequence[tuple[int, int]]]) -> None:
        self._boot, self._table = boot, table

    def descendants(self, pid: int) -> tuple[ProcessKey, ...]:
        """See `descendants`."""
        if self._boot is None:
            return ()
        found: list[ProcessKey] = []
        seen, waiting = {pid}, [pid]
        for parent in waiting:
            for child, ticks in sorted(self._table.get(parent, ())):
                if child not in seen:  # the table was not read in one instant: a pid may move in it
                    seen.add(child)
                    waiting.append(child)
                    found.append(ProcessKey(self._boot, child, ticks))
        return tuple(found)


def children() -> Children:
    """One look at every process; for whoever asks about many."""
    table: dict[int, list[tuple[int, int]]] = {}
    for name in _names("/proc"):
        if name.isdigit() and (stat := _stat(int(name))) is not None:
            table.setdefault(stat.parent_pid, []).append((int(name), stat.start_ticks))
    return Children(boot_id(), table)


def read_limits(pid: int) -> Limits | None:
    """The soft limits of `pid` that a memory cap may be made of."""
    text = _read(f"/proc/{pid}/limits")
    if text is None:
        return None
    values: dict[str, int | None] = {}
    for line in text.splitlines()[1:]:
        # Columns are padded with at least two blanks; the names hold single ones.
        columns = line.split("  ", 1)
        if len(columns) == 2 and (soft := columns[1].split()):
            if soft[0] != "unlimited" and not soft[0].isdigit():
                return None
            values[columns[0]] = None if soft[0] == "unlimited" else int(soft[0])
    try:
        return Limits(
            data_bytes=values["Max data size"],
            address_space_bytes=values["Max address space"],
            locked_bytes=values["Max locked memory"],
        )
    except KeyError:
        return None


def read_memory(pid: int) -> ProcessMemory | None:
    """What `pid` holds; a zombie holds nothing that could be read, so its figures are None."""
    text = _read(f"/proc/{pid}/status")
    if text is None:
        return None
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if name.startswith("Vm") and len(words) == 2 and words[0].isdigit() and words[1] == "kB":
            found[name] = int(words[0]) * 1024
    return ProcessMemory(found.get("VmRSS"), found.get("VmData"), found.get("VmSize"))


def resident_bytes(pid: int) -> int | None:
    """The resident set of `pid`."""
    memory = read_memory(pid)
    return None if memory is None else memory.resident_bytes


def _stat(pid: int) -> _Stat | None:
    text = _read(f"/proc/{pid}/stat")
    if text is None:
        return None
    # Field 2 is the program's name in parentheses and may itself hold blanks and parentheses;
    # nothing after it can, so the last one closes it.
    _, closed, rest = text.rpartition(")")
    fields = rest.split()
    if not closed or len(fields) < 20:
        return None
    try:
        return _Stat(fields[0], int(fields[1]), int(fields[19]), int(fields[4]))  # 3, 4, 22, 7
    except ValueError:
        return None


def _pid_exists(pid: int) -> bool:
    """Whether the kernel knows `pid` although /proc hides it (mount option `hidepid`)."""
    try:
        os.close(os.pidfd_open(pid))
    except OSError as error:
        return error.errno != errno.ESRCH
    return True


def _read(path: str) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        chunks, left = [], _READ_BYTES
        while left > 0 and (chunk := os.read(descriptor, left)):
            chunks.append(chunk)
            left -= len(chunk)
    except OSError:  # the process ended between the two calls
        return None
    finally:
        os.close(descriptor)
    return os.fsdecode(b"".join(chunks))


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
