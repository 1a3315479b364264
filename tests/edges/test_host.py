"""The host's memory as it is: of this machine, of real processes, of a real control group."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from yolowatch.daemon.hosts import Hosts
from yolowatch.edges import host, proc
from yolowatch.edges.cgroup import is_slice
from yolowatch.edges.clock import SystemClock
from yolowatch.model.events import Event, HostSeen
from yolowatch.model.host import HostMemory, RunHost
from yolowatch.model.identity import ProcessKey

MIB = 1 << 20
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "held = bytearray(40 << 20); print(1, flush=True); "
                          "import time; time.sleep(600)"], stdout=subprocess.PIPE)
child.stdout.readline()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def family() -> Iterator[ProcessKey]:
    """A process with a child that holds 40 MiB."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    key = proc.process_key(parent.pid)
    assert key is not None
    yield key
    os.killpg(parent.pid, 9)
    parent.wait()


def test_this_machine() -> None:
    found = host.machine()
    assert found.capacity_bytes is not None
    assert found.available_bytes is not None
    assert 0 < found.available_bytes <= found.capacity_bytes


def test_a_run_is_all_of_its_processes(family: ProcessKey) -> None:
    found = host.of_runs({"a": family})["a"]
    assert found.processes == 2
    alone = proc.resident_bytes(family.pid)
    assert alone is not None
    assert found.resident_bytes is not None
    assert found.resident_bytes >= alone + 40 * MIB


def test_a_run_that_is_gone_is_left_out(family: ProcessKey) -> None:
    other = ProcessKey(family.boot_id, family.pid, family.start_ticks + 1)
    assert host.of_runs({"a": other}) == {}
    assert host.of_runs({}) == {}


def test_the_shared_memory_of_this_process_is_the_kernels_figure() -> None:
    me = proc.process_key(os.getpid())
    assert me is not None
    found = host.of_processes((me,))
    kinds = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    mounted = [line for line in kinds if line[4] == "/dev/shm" and " tmpfs " in " ".join(line)]
    if not mounted:
        assert (found.shm_used_bytes, found.shm_capacity_bytes) == (None, None)
        return
    real = os.statvfs("/dev/shm")
    assert found.shm_capacity_bytes == real.f_blocks * real.f_frsize
    assert found.shm_used_bytes is not None
    assert 0 <= found.shm_used_bytes <= found.shm_capacity_bytes


@pytest.fixture
def limited() -> Iterator[tuple[ProcessKey, int]]:
    """A process in a control group of 256 MiB, where this machine lets us make one."""
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    path = next((each[2] for each in own if "memory" in each[1].split(",")), None)
    folder = Path(f"/sys/fs/cgroup/memory{path}/yolowatch-test-{os.getpid()}")
    limit = "memory.limit_in_bytes"
    if path is None:
        folder = Path(f"/sys/fs/cgroup{own[-1][2]}/yolowatch-test-{os.getpid()}")
        limit = "memory.max"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(256 * MIB))
    except OSError as error:
        if folder.is_dir():
            folder.rmdir()
        pytest.skip(f"no memory control group can be made here ({error.strerror})")
    child = subprocess.Popen(["sleep", "600"])
    (folder / "cgroup.procs").write_text(str(child.pid))
    key = proc.process_key(child.pid)
    assert key is not None
    yield key, 256 * MIB
    child.kill()
    child.wait()
    deadline = time.monotonic() + 5
    while folder.is_dir() and time.monotonic() < deadline:
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.05)


def test_a_limited_control_group(limited: tuple[ProcessKey, int]) -> None:
    process, limit = limited
    found = host.of_processes((process,))
    assert found.cgroup_limit_bytes == limit
    assert found.cgroup_used_bytes is not None
    assert 0 <= found.cgroup_used_bytes < limit
    assert host.unit_limit_bytes(process.pid) == limit


def test_the_limit_of_a_slice_is_no_units_own() -> None:
    root = Path("/sys/fs/cgroup")
    for slices in (root, root / "memory", root / "user.slice/user-7.slice"):
        assert is_slice(slices), slices
    for unit in (root / "memory/a.slice/b.service", root / "a.slice/b.scope/c.slice"):
        assert not is_slice(unit), unit


def test_what_cannot_be_read_is_unknown() -> None:
    nobody = ProcessKey("boot", 1 << 30, 1)
    assert host.of_processes((nobody,)) == RunHost()


def test_the_thread_tells_what_it_finds(family: ProcessKey) -> None:
    posted: list[Event] = []
    beats: list[int] = []
    hosts: Hosts

    def post(event: Event) -> bool:
        posted.append(event)
        hosts.close()
        return True

    hosts = Hosts(SystemClock(), post, lambda: beats.append(1), every_seconds=0.01)
    assert hosts.machine == HostMemory()
    hosts.watched = {"a": family}
    hosts.work()
    (seen,) = posted
    assert isinstance(seen, HostSeen)
    assert seen.runs["a"].processes == 2
    assert hosts.machine.capacity_bytes is not None
    assert beats == [1]
