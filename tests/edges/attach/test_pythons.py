"""Every Python that is here: the hook comes, says HELLO, goes and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.edges.attach.targets import BUSY, Target, means, python, running
from yolowatch.edges.attach.entering import attach, detach
from yolowatch.model.attach import AttachPolicy, Rung

ROUNDS = 3


def left_nothing(target: Target) -> bool:
    """The thread that said so last is seen for a moment longer."""
    told = target.state()
    for _ in range(200):
        if told["kernel_threads"] == target.first["kernel_threads"]:
            break
        told = target.state()
    return {**told, "turns": 0} == {**target.first, "turns": 0}


@pytest.mark.parametrize("minor", range(8, 15))
def test_the_hook_comes_and_goes(minor: int, tmp_path: Path) -> None:
    with running((python(minor), str(BUSY))) as target:
        for _ in range(ROUNDS):
            met = attach(target.pid, means(tmp_path))
            wanted = Rung.REMOTE_DEBUG if minor >= 14 else Rung.PENDING_CALL
            assert met.reached.rung is wanted
            assert str(met.hello["python"]).startswith(f"3.{minor}.")
            assert met.hello["late"] is True
            inside = target.state()
            assert "yolowatch-hook" in inside["threads"]
            assert inside["main"] == target.first["main"]
            assert not any("yolowatch" in path for path in inside.get("path", ()))
            detach(target.pid, means(tmp_path))
            assert left_nothing(target)
        target.end()
    assert not list((tmp_path / "state" / "hook").glob("arrival-*")), "each has run"


def test_a_python_linked_into_its_program(tmp_path: Path) -> None:
    """Debian's has no libpython: its symbols stand in the program itself."""
    found = "/usr/bin/python3"
    if not os.path.exists(found) or "libpython" in subprocess.check_output(("ldd", found)).decode():
        pytest.skip("no Python here is linked into its program")
    with running((found, str(BUSY))) as target:
        attach(target.pid, means(tmp_path))
        detach(target.pid, means(tmp_path))
        assert left_nothing(target)
        target.end()


def test_attaching_twice_brings_one_hook(tmp_path: Path) -> None:
    with running((sys.executable, str(BUSY))) as target:
        attach(target.pid, means(tmp_path))
        attach(target.pid, means(tmp_path))
        assert target.state()["threads"].count("yolowatch-hook") == 1
        target.end()


def test_it_works_between_the_calls_of_a_sleeper(tmp_path: Path) -> None:
    """A system call that was interrupted goes on: sleeping takes as long as it was to."""
    program = """
import sys, time
print("begun", flush=True)
began = time.monotonic()
for _ in range(4):
    time.sleep(0.3)
print("slept", time.monotonic() - began >= 1.2, flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        (sys.executable, "-c", program), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        assert attach(process.pid, means(tmp_path)).hello["late"] is True
        assert process.stdout.readline() == "slept True\n"
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb here")
def test_the_last_resort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no pending call can be made, gdb makes it; only if that is permitted."""
    monkeypatch.setattr("yolowatch.edges.attach.pending_call.is_offered", lambda machine: False)
    with running((sys.executable, str(BUSY))) as target:
        met = attach(target.pid, means(tmp_path, policy=AttachPolicy.DEBUGGER))
        assert met.reached.rung is Rung.DEBUGGER
        detach(target.pid, means(tmp_path, policy=AttachPolicy.DEBUGGER))
        assert left_nothing(target)
        target.end()
