"""The kernel's own count of those whom it killed for want of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.memory_group import memory_group
from yolowatch.edges.oom_kills import OomKills, oom_kills

EATER = "import sys; sys.stdin.readline(); x = bytearray(512 << 20); print(len(x), sum(x[::4096]))"


def test_a_kill_is_counted_where_it_happened() -> None:
    with memory_group(48 << 20) as group:
        if group is None:
            pytest.skip("no memory control group can be made here")
        command = [sys.executable, "-c", EATER]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as eater:
            (group / "cgroup.procs").write_text(str(eater.pid))
            before = oom_kills(eater.pid)
            assert before.counters[0][0].parent == group
            assert before.since() == 0
            eater.communicate("go\n")
        assert eater.returncode == -9
        assert before.since() == 1
    if before.counters[0][0].name == "memory.oom_control":
        assert before.since() is None  # version 1: those above have not counted it


def test_a_group_that_is_gone_leaves_it_to_the_one_above(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.write_text("low 0\noom 3\noom_kill 2\n")
    outer.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n")
    kills = OomKills(((inner, 2), (outer, 5)))
    assert kills.since() == 0
    inner.unlink()
    assert kills.since() == 2
    outer.write_text("oom_kill 1\n")  # another group of the same name
    assert kills.since() is None
    outer.unlink()
    assert kills.since() is None


def test_of_nobody_nothing_is_known() -> None:
    assert oom_kills(1 << 22).since() is None
    assert OomKills().since() is None
    assert isinstance(oom_kills(os.getpid()), OomKills)
