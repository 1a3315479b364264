"""Processes as /proc shows them, with real processes."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from yolowatch.edges import proc
from yolowatch.edges.clock import SystemClock

SLEEP = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"]


def test_a_process_has_one_name_for_ever() -> None:
    key = proc.process_key(os.getpid())
    assert key is not None
    assert key == proc.process_key(os.getpid())
    assert key.boot_id == proc.boot_id()
    assert len(key.boot_id) == 36
    assert key.start_ticks > 0
    assert proc.parent_pid(os.getpid()) == os.getppid()


@pytest.mark.parametrize("name", ["a b", "a) R 1 (b", ") 1 2 3", "((", "plain"])
def test_names_with_blanks_and_parentheses_do_not_shift_the_fields(
    name: str, tmp_path: Path
) -> None:
    program = tmp_path / name
    shutil.copy(shutil.which("cat") or "/bin/cat", program)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        key = proc.process_key(process.pid)
        assert key is not None
        mine = proc.process_key(os.getpid())
        assert mine is not None
        assert key.start_ticks >= mine.start_ticks
        assert proc.parent_pid(process.pid) == os.getpid()
        assert proc.is_alive(key)


def test_alive_then_zombie_then_gone() -> None:
    process = subprocess.Popen(SLEEP, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()
    key = proc.process_key(process.pid)
    assert key is not None
    assert proc.is_alive(key) is True
    assert proc.is_alive(replace(key, start_ticks=key.start_ticks + 1)) is False, "a reused pid"
    assert proc.is_alive(replace(key, boot_id="another")) is False
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert proc.process_key(process.pid) == key, "a zombie can still be named"
    assert proc.is_alive(key) is False
    memory = proc.read_memory(process.pid)
    assert memory is not None
    assert memory.resident_bytes is None, "unknown is not zero"
    process.stdout.close()
    process.wait()
    assert proc.process_key(process.pid) is None
    assert proc.is_alive(key) is False
    assert proc.parent_pid(process.pid) is None
    assert proc.read_memory(process.pid) is None
    assert proc.read_limits(process.pid) is None


def test_what_the_kernel_knows_but_proc_hides_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    key = proc.process_key(os.getpid())
    assert key is not None
    monkeypatch.setattr(proc, "_read", lambda path: None)  # as under hidepid=2
    assert proc.is_alive(key) is None
    assert proc.process_key(os.getpid()) is None


def test_descendants_parents_first() -> None:
    program = (
        "import subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE);"
        "print(p.pid, flush=True); sys.stdin.read(); p.kill(); p.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, *SLEEP], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        lines = {child.stdout.readline().strip(), child.stdout.readline().strip()}
        (grandchild,) = (int(line) for line in lines if line.isdigit())
        found = [each.pid for each in proc.descendants(os.getpid())]
        assert found.index(child.pid) < found.index(grandchild)
        assert [each.pid for each in proc.descendants(child.pid)] == [grandchild]
        assert proc.descendants(child.pid)[0] == proc.process_key(grandchild)
    assert proc.descendants(child.pid) == ()


def test_limits_and_memory() -> None:
    limit = 3 * 1024**3
    with subprocess.Popen(SLEEP, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        resource.prlimit(child.pid, resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
        limits = proc.read_limits(child.pid)
        assert limits is not None
        assert limits.data_bytes == limit
        assert limits.address_space_bytes is None, "unlimited"
        memory = proc.read_memory(child.pid)
        assert memory is not None
        assert memory.resident_bytes
        assert memory.data_bytes
        assert memory.address_space_bytes
        assert memory.address_space_bytes > memory.resident_bytes
        assert proc.resident_bytes(child.pid) == pytest.approx(memory.resident_bytes, rel=0.5)


def test_the_clock_moves_forward() -> None:
    clock = SystemClock()
    before, wall = clock.monotonic(), clock.wall()
    clock.sleep(0.02)
    assert clock.monotonic() - before >= 0.02
    assert clock.wall() >= wall > 1.7e9
