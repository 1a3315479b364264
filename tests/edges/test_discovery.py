"""Trainings that have no hook are found in /proc, each once; nothing is done to them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from yolowatch.edges.ancestry import ancestors, survivors, trainings_like
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.discovery import Discovery, Pace
from yolowatch.edges.proc import process_key
from yolowatch.model.events import Event, TrainingSeen

# What counts is that the library is mapped: this stands in for an import of torch.
TRAIN = r"""
import mmap, os, sys
library = sys.argv[1]
if library != "none":
    with open(library, "rb") as file:
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
child = os.fork() if "fork" in sys.argv else None
if child != 0:
    os.write(1, b"ready\n")
sys.stdin.readline()
"""


class Found:
    def __init__(self, folder: Path) -> None:
        self.program, self.library = folder / "train.py", folder / "libtorch_cpu.so"
        self.program.write_text(TRAIN)
        self.library.write_bytes(b"x" * 4096)
        self.posted: list[Event] = []
        self.running: list[subprocess.Popen[bytes]] = []
        self.discovery = Discovery(
            self._post,
            SystemClock(),
            {os.geteuid()},
            lambda argv: "a training" if str(self.program) in argv else None,
            Pace(age=0.0),
        )

    def _post(self, event: Event) -> bool:
        self.posted.append(event)
        return True

    def start(self, *words: str, library: str | None = None, **more: str) -> int:
        process = subprocess.Popen(
            (sys.executable, self.program, library or str(self.library), *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={k: v for k, v in os.environ.items() if not k.startswith("YOLOWATCH")} | more,
            cwd=self.program.parent,
        )
        self.running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process.pid

    def pids(self) -> list[int]:
        self.discovery.look()
        assert all(isinstance(each, TrainingSeen) for each in self.posted)
        return [each.process.pid for each in self.posted if isinstance(each, TrainingSeen)]


@pytest.fixture
def found(tmp_path: Path) -> Iterator[Found]:
    found = Found(tmp_path)
    yield found
    for process in found.running:
        process.communicate(b"\n" * 2)


def test_a_training_is_told_of_once(found: Found) -> None:
    pid = found.start()
    assert found.pids() == [pid]
    assert found.pids() == [pid]


def test_what_has_not_loaded_torch_may_do_so_later(found: Found) -> None:
    found.start(library="none")
    assert found.pids() == []


@pytest.mark.parametrize("more", [{"YOLOWATCH": "0"}, {"YOLOWATCH_SOCKET": "/run/x.sock"}])
def test_who_has_a_hook_or_wants_none_is_left_alone(found: Found, more: dict[str, str]) -> None:
    found.start(**more)
    assert found.pids() == []


def test_a_forked_worker_is_no_training(found: Found) -> None:
    pid = found.start("fork")
    assert found.pids() == [pid]


def test_where_it_came_from_is_read_from_the_nearest_up(found: Found) -> None:
    pid = found.start()
    key = process_key(pid)
    assert key is not None
    chain = ancestors(key)
    assert chain[0].process == process_key(os.getpid())
    assert survivors(chain) == chain
    alike = trainings_like(
        (sys.executable, str(found.program), str(found.library)), str(found.program.parent),
        os.geteuid(),
    )  # fmt: skip
    assert alike == (key,)
    assert trainings_like(("other",), "/", os.geteuid()) == ()
