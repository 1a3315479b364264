"""Takes a process out of the daemon's control group, so that a stopped service leaves it running.

With systemd it gets a transient scope of its own: a unit around a process that exists already, so
that neither its command nor its environment is ever told to the manager. Without one it goes where
the training was before, or to the nearest group above that takes it.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from yolowatch.edges.cgroup import read_cgroups
from yolowatch.edges.clock import Clock
from yolowatch.errors import LaunchError
from yolowatch.model.captured import Captured

_BOOTED = Path("/run/systemd/system")
_GROUPS = Path("/sys/fs/cgroup")
_CALL_SECONDS = 20.0
_MOVE_SECONDS = 10.0
_POLL_SECONDS = 0.01
_UNIT = re.compile(r"[A-Za-z0-9_.:-]{1,200}\.scope\Z")
_SERVICE = re.compile(r"/[^/]+\.service(?=/|\Z)")
_OPTIONAL = ("OOMPolicy", "s", "continue")  # unknown to scopes before systemd 253


def leave(pid: int, captured: Captured, unit: str, clock: Clock) -> str:
    """Move `pid` into the scope `unit` or back into the captured groups; where it is, for people.

    Raises LaunchError where it would stay in the daemon's own service and end with it.
    """
    if not _UNIT.match(unit):
        raise LaunchError(f"{unit!r} is no name of a scope.")
    reason = _scope(pid, captured, unit, clock)
    if reason is None:
        return unit
    for controllers, path in captured.cgroups:
        _enter(pid, controllers, path)
    mine = _services(os.getpid())
    if mine & _services(pid):
        raise LaunchError(
            f"The training cannot leave the service's own control group ({reason}): it would end "
            "with the service, so it is not started."
        )
    return "a detached process"


def _scope(pid: int, captured: Captured, unit: str, clock: Clock) -> str | None:
    """Ask the manager for a scope around `pid`; None once it is in there, else why it is not."""
    if not _BOOTED.is_dir():
        return "systemd does not run here"
    required = [
        *("PIDs", "au", "1", str(pid)),
        *("Description", "s", "A training that yolowatch resumed"),
        *("CollectMode", "s", "inactive-or-failed"),
    ]
    count = 3
    slice_unit = slice_of(captured) if os.geteuid() == 0 else None
    if slice_unit is not None:
        required += ["Slice", "s", slice_unit]
        count += 1
    if captured.memory_max_bytes is not None:  # it was its unit's, which this one is not in
        required += ["MemoryMax", "t", str(captured.memory_max_bytes)]
        count += 1
    reason = _call(unit, count + 1, [*required, *_OPTIONAL])
    if reason is not None:
        reason = _call(unit, count, required)
    if reason is not None:
        return reason
    deadline = clock.monotonic() + _MOVE_SECONDS
    while clock.monotonic() < deadline:
        if any(path.endswith(f"/{unit}") for _, path in read_cgroups(pid)):
            return None
        clock.sleep(_POLL_SECONDS)
    return f"systemd did not move it into {unit} in time"


def slice_of(captured: Captured) -> str | None:
    """The slice in which the system's manager had it: its user's limits go on to hold."""
    for controllers, path in captured.cgroups:
        if controllers in ("", "name=systemd"):
            found = None
            for part in path.split("/")[1:]:
                if not part.endswith(".slice"):
                    break
                found = part
            if found is not None:
                return found
    return None


def _call(unit: str, count: int, properties: list[str]) -> str | None:
    command = [
        *("busctl", "call", *(() if os.geteuid() == 0 else ("--user",))),
        *("org.freedesktop.systemd1", "/org/freedesktop/systemd1"),
        *("org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))"),
        *(unit, "fail", str(count), *properties, "0"),
    ]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_CALL_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"busctl cannot be asked: {error}"
    if done.returncode == 0:
        return None
    return done.stderr.decode("utf-8", "replace").strip()[:300] or "systemd refused"


def _enter(pid: int, controllers: str, path: str) -> None:
    """Into the group at `path` of one hierarchy, or the nearest one above it that takes it."""
    for mount in _mounts(controllers):
        group = path
        while group not in ("", "/"):
            try:
                descriptor = os.open(f"{mount}{group}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            except OSError:  # removed since, or not ours
                group = group.rpartition("/")[0]
                continue
            try:
                os.write(descriptor, b"%d" % pid)
            except OSError:
                group = group.rpartition("/")[0]
            else:
                return
            finally:
                os.close(descriptor)


def _mounts(controllers: str) -> list[Path]:
    """Where the hierarchy of these controllers may be mounted; "" is the unified one."""
    if controllers == "":
        return [_GROUPS / "unified", _GROUPS]
    return [_GROUPS / controllers.removeprefix("name=")]


def _services(pid: int) -> set[str]:
    """The services in whose groups a process lives: what is stopped, or restarted, with them."""
    try:
        found = read_cgroups(pid)
    except OSError:
        return set()
    named = [path for controllers, path in found if controllers in ("", "name=systemd")]
    return {match[0] for path in named for match in _SERVICE.finditer(path)}
