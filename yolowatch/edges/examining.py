"""Looks at one machine for `yolowatch doctor`: what is there, what answers, what is refused.

It judges nothing (`decide/diagnose.py` does) and changes nothing. Nothing is connected to that a
connection would start: whether somebody listens on a socket is read from the kernel's table.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

from yolowatch.edges.attach.ptrace import Died, NotStopped, Seized
from yolowatch.edges.clock import Clock
from yolowatch.edges.installing import is_installed
from yolowatch.edges.names import user_name
from yolowatch.edges.nvml import open_nvml
from yolowatch.errors import StateError
from yolowatch.model.diagnosis import DirectoryFacts, Door, HookFacts

_UNIX_SOCKETS = Path("/proc/net/unix")
_ACCEPTS = 0x10000  # SO_ACCEPTCON of <linux/net.h>
_YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
_SEIZE_SECONDS = 5.0
_INSIDE_A_RUN = (".yolowatch", "weights")


def gpus() -> tuple[str | None, int, tuple[str, ...]]:
    """Why NVML says nothing, or None; how many GPUs there are; what of them cannot be read."""
    driver = open_nvml()
    try:
        found = driver.devices()
        return driver.reason, len(found), tuple(each for gpu in found for each in gpu.problems)
    finally:
        driver.close()


def door(path: Path, table: Path = _UNIX_SOCKETS) -> Door:
    """What is behind the socket at `path`, without knocking."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return Door.ABSENT
    except OSError:
        return Door.UNKNOWN
    if not stat.S_ISSOCK(mode):
        return Door.DEAD
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return Door.UNKNOWN
    for line in lines:
        words = line.split(None, 7)
        if len(words) == 8 and words[7] == str(path) and int(words[3], 16) & _ACCEPTS:
            return Door.LISTENS
    return Door.DEAD


def ptrace_scope(path: Path = _YAMA) -> int | None:
    """The bound of yama; None where this kernel has none."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def ptrace_trouble(clock: Clock) -> str | None:
    """Why a process of ours could not be attached to, by trying it on one that only waits."""
    try:
        # Left, it closes the child's input, which ends it.
        with (
            subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child,
            Seized(child.pid, clock, _SEIZE_SECONDS),
        ):
            return None
    except (NotStopped, Died) as error:
        return str(error) or type(error).__name__
    except OSError as error:
        return error.strerror or str(error)


def directory(
    path: Path, role: str, *, owner: str | None, least_bytes: int, wanted_bytes: int = 0
) -> DirectoryFacts:
    """What is so of one directory; `owner` is whose it should be."""
    try:
        status, usage = path.stat(), shutil.disk_usage(path)
    except FileNotFoundError:
        return DirectoryFacts(str(path), role, False, expected_owner=owner)
    except OSError:
        return DirectoryFacts(str(path), role, None, expected_owner=owner)
    return DirectoryFacts(
        str(path),
        role,
        stat.S_ISDIR(status.st_mode),
        user_name(status.st_uid) or f"uid {status.st_uid}",
        owner,
        bool(status.st_mode & stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX,
        usage.free,
        least_bytes,
        wanted_bytes,
    )


def run_directories(
    path: Path, *, owner: str | None, least_bytes: int, wanted_bytes: int
) -> tuple[DirectoryFacts, ...]:
    """A directory of checkpoints, and what in it must be of the same user."""
    first = directory(path, "run", owner=owner, least_bytes=least_bytes, wanted_bytes=wanted_bytes)
    inside = [
        directory(path / name, "vault" if name[0] == "." else "weights",
                  owner=first.expected_owner or first.owner, least_bytes=least_bytes)
        for name in _INSIDE_A_RUN
        if os.path.lexists(path / name)
    ]  # fmt: skip
    return (first, *inside)


def hook(python: Path) -> HookFacts:
    """Whether the hook of this version is in that environment."""
    try:
        return HookFacts(str(python), is_installed(python))
    except StateError as error:
        return HookFacts(str(python), None, str(error))
