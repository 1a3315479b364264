"""The hook never harms: weights are the same to the bit, and whatever breaks, training goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.scene import PROGRAMS, REPOSITORY, Scene
from yolowatch.edges.stage import stage
from yolowatch.hook import wire

pytestmark = pytest.mark.trainers


def plain(scene: Scene, *settings: str) -> tuple[str, ...]:
    program = str(PROGRAMS / "plain.py")
    return (str(scene.python), program, str(scene.data), str(scene.root / "runs"), *settings)


def learnt(output: str) -> str:
    found = re.search(r"LEARNT ([0-9a-f]{64})", output)
    assert found is not None, output[-3000:]
    return found.group(1)


@pytest.fixture(scope="module")
def bare(trainer_python: Path, small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the training learns without any hook."""
    scene = Scene(tmp_path_factory.mktemp("bare"), trainer_python, small_data)
    done = scene.run(plain(scene))
    assert done.returncode == 0
    return learnt(done.stdout)


@pytest.fixture
def hooked(scene: Scene) -> dict[str, str]:
    """The environment of a hooked process whose daemon would listen at `socket`."""
    staged = stage(scene.state_made())
    return {"PYTHONPATH": str(staged.path), "YOLOWATCH_SOCKET": str(scene.root / "socket")}


class Deaf:
    """A socket that accepts one connection and reads what the test tells it to."""

    def __init__(self, path: str) -> None:
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.server.bind(path)
        self.server.listen(4)
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self.connections.append(self.server.accept()[0])
            except OSError:
                return

    def pending(self) -> list[tuple[str, Mapping[str, object]]]:
        """What lies in the queue of the first connection."""
        connection = self.connections[0]
        connection.setblocking(False)
        messages = []
        while True:
            try:
                data = connection.recv(wire.MAX_MESSAGE_BYTES)
            except BlockingIOError:
                return messages
            if not data:
                return messages
            messages.append(wire.decode(data))


@pytest.fixture
def deaf(scene: Scene) -> Iterator[Deaf]:
    listener = Deaf(str(scene.root / "socket"))
    yield listener
    listener.server.close()


def test_supervised_weights_are_identical_to_the_bit(scene: Scene, bare: str) -> None:
    done = scene.run(scene.supervised(plain(scene)))
    assert done.returncode == 0
    assert learnt(done.stdout) == bare
    assert scene.shown()["run"]["trainer"] == "ultralytics"  # the hook really was in there


def test_the_hook_can_be_switched_off(scene: Scene) -> None:
    done = scene.run(scene.supervised(plain(scene, "epochs=1")), {"YOLOWATCH": "0"})
    assert done.returncode == 0
    assert "only observed from outside" in done.stdout


def test_nobody_listens(scene: Scene, bare: str, hooked: dict[str, str]) -> None:
    done = scene.run(plain(scene), hooked)
    assert done.returncode == 0
    assert learnt(done.stdout) == bare


def test_the_queue_of_the_socket_is_full(
    scene: Scene, bare: str, hooked: dict[str, str], deaf: Deaf
) -> None:
    """Nobody reads: what does not fit is dropped and counted, and training does not wait."""
    fill = REPOSITORY / "tests" / "trainers" / "flooding"
    done = scene.run(plain(scene), {**hooked, "PYTHONPATH": f"{hooked['PYTHONPATH']}:{fill}"})
    assert done.returncode == 0
    assert learnt(done.stdout) == bare
    found = re.search(r"DROPPED (\d+)", done.stdout)
    assert found is not None
    assert int(found.group(1)) > 0
    assert deaf.pending()[0][0] == "hello"


def test_the_supervisor_is_killed(scene: Scene, bare: str) -> None:
    process = scene.start(scene.supervised(plain(scene)), start_new_session=True)
    output = scene.root / "output.txt"
    deadline = time.monotonic() + 120
    while "Starting training" not in output.read_text(errors="replace"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    while "LEARNT" not in output.read_text(errors="replace"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert learnt(output.read_text(errors="replace")) == bare


def sabotaged(output: str) -> dict[str, Any]:
    found = re.search(r"SABOTAGED (.*)", output)
    assert found is not None, output[-2000:]
    told: dict[str, Any] = json.loads(found.group(1))
    assert told["faults"] >= len(told["entered"])
    return told


SABOTAGE = str(Path(__file__).parent / "sabotage")


READINGS = ("ultralytics_step._forward_ends", "ultralytics_step._backward_ends")
"""Entered only for a batch that the entry before them began to read."""


def test_a_failure_of_the_hook_is_told(scene: Scene, bare: str) -> None:
    more = {"PYTHONPATH": SABOTAGE, "SABOTAGE": ",".join(READINGS)}
    done = scene.run(scene.supervised(plain(scene)), more)
    assert learnt(done.stdout) == bare
    assert set(sabotaged(done.stdout)["entered"]) == set(READINGS)
    assert done.stdout.count("the hook failed and leaves the training alone") == 1
    assert f"{READINGS[0]}: RuntimeError: planted" in done.stdout


@pytest.mark.parametrize("which", ["imports", "installs"])
def test_the_hook_cannot_be_installed(scene: Scene, bare: str, which: str) -> None:
    done = scene.run(scene.supervised(plain(scene)), {"PYTHONPATH": SABOTAGE, "SABOTAGE": which})
    assert done.returncode == 0
    assert learnt(done.stdout) == bare
    assert sabotaged(done.stdout)["entered"]


@pytest.mark.slow
@pytest.mark.slice
def test_every_entry_of_the_hook_fails(scene: Scene, bare: str, hooked: dict[str, str]) -> None:
    """Each way into the hook raises, always: in a healthy, an edited and a failing training."""
    more = {"PYTHONPATH": SABOTAGE, "SABOTAGE": "rest"}
    healthy = scene.run(scene.supervised(plain(scene)), more)
    assert learnt(healthy.stdout) == bare
    assert "the hook failed and leaves the training alone" not in healthy.stdout  # it cannot tell

    edits = {
        "start": "afresh",
        "run_dir": "/nowhere",
        "batch": 2,
        "nbs": 4,
        "iterations_batch": 4,
        "effective_weight_decay": 0.5,
        "validation_batch": 1,
        "multi_scale": 0.25,
        "amp": "bf16",
        "checkpointing": True,
        "pruning": 0.25,
        "optimizer_bits": 8,
    }
    ordered = scene.run(
        plain(scene),
        {
            **hooked,
            **more,
            "PYTHONPATH": f"{hooked['PYTHONPATH']}:{SABOTAGE}",
            "YOLOWATCH_EDITS": json.dumps(edits),
        },
    )
    assert learnt(ordered.stdout) == bare

    program = str(PROGRAMS / "not_memory.py")
    where = (str(scene.data), str(scene.root / "failing"))
    failing = scene.run(scene.supervised((str(scene.python), program, "error", *where)), more)
    assert failing.returncode == 1
    assert "ZeroDivisionError: a mistake of the user's" in failing.stdout

    # They follow upon others.
    follow = ("ultralytics_step._forward_begins", "agent._window", "agent._look", "rescue._keep")
    more["SABOTAGE"] = ",".join((*follow, "guarding.begin"))
    policy = scene.root / "policy.yaml"
    policy.write_text("rescue: true\n")
    unread = scene.run(scene.supervised(plain(scene), "--policy", str(policy)), more)
    assert learnt(unread.stdout) == bare

    told = [sabotaged(each.stdout) for each in (healthy, ordered, failing, unread)]
    entered = {name for each in told for name in each["entered"]}
    left = {name for each in told for name in each["left"]} - entered
    # They need another trainer or none, a GPU, a failing thread, a window that was sent, a resume.
    left = {name for name in left if not name.startswith("callbacks_family")}
    others = {"oom.observe_cuda", "oom._thread_died", "agent._report", "optimizers._stepped"}
    others.add("opt_in_ultralytics._without_misfits")
    others |= {"agent._leave", "ultralytics._join"}  # of a hook that comes late, or is to leave
    # An order, a failure that is rescued, a guard that has begun.
    others |= {"releasing.between", "guarding.batch"}
    others |= {"rescue._step_again", "rescue._smaller_validation"}
    assert left <= others | set(READINGS)
    assert len(entered) >= 18


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own needs root")
def test_the_disk_is_full(scene: Scene, bare: str) -> None:
    """The journal's disk fills up while the training runs: told once, and training ends well."""
    disk = scene.root / "disk"
    disk.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk), check=True)
    try:
        process = scene.start(
            scene.yolowatch("run", "--state-dir", str(disk / "state"), "--", *plain(scene)),
            start_new_session=True,
        )
        output = scene.root / "output.txt"
        deadline = time.monotonic() + 120
        while "Starting training" not in output.read_text(errors="replace"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        filled = subprocess.run(("dd", "if=/dev/zero", f"of={disk}/filler", "bs=64k"), check=False)
        assert filled.returncode != 0  # no space is left
        assert process.wait(180) == 0
        text = output.read_text(errors="replace")
        assert learnt(text) == bare
        assert text.count("from here it is watched and not changed") == 1
    finally:
        subprocess.run(("umount", disk), check=True)
        shutil.rmtree(disk)
