"""What is no memory failure is never started again, and its exit status is passed on unchanged."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.trainers.scene import PROGRAMS, Scene

pytestmark = pytest.mark.trainers


def command(scene: Scene, how: str) -> tuple[str, ...]:
    program = str(PROGRAMS / "not_memory.py")
    return (str(scene.python), program, how, str(scene.data), str(scene.root / "runs"))


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("prints", 3),
        ("no-data", 1),
        ("error", 1),
        ("says-memory", 1),
        ("device-assert", 1),
        ("exit", 5),
        ("abort", 128 + signal.SIGABRT),
    ],
)
def test_it_is_passed_on(scene: Scene, how: str, status: int) -> None:
    done = scene.run(scene.supervised(command(scene, how)))
    assert done.returncode == status, done.stdout[-2000:]
    shown = scene.shown()
    assert len(shown["attempts"]) == 1
    # A device that failed is for a person to look at; nothing is started again for it either.
    incidents = [(each["kind"], each["outcome"][:8]) for each in shown["incidents"]]
    assert incidents == ([("device-fault", "refused:")] if how == "device-assert" else [])
    assert shown["receipts"] == []


def wait_for(scene: Scene, text: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while text not in (scene.root / "output.txt").read_text(errors="replace"):
        assert process.poll() is None, (scene.root / "output.txt").read_text()[-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_ctrl_c_ends_it_and_nothing_is_started_again(scene: Scene) -> None:
    """The whole foreground group gets the signal, as from a terminal."""
    process = scene.start(scene.supervised(command(scene, "long")), start_new_session=True)
    wait_for(scene, "WAITING", process)
    os.killpg(process.pid, signal.SIGINT)
    status = process.wait(60)
    assert status in (1, 128 + signal.SIGINT)  # as Python or the trainer decides
    shown = scene.shown()
    assert len(shown["attempts"]) == 1
    assert shown["attempts"][0]["outcome"] == "interrupted"


def test_sigterm_to_the_supervisor_alone_is_forwarded(scene: Scene) -> None:
    process = scene.start(scene.supervised(command(scene, "long")), start_new_session=True)
    wait_for(scene, "WAITING", process)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    shown = scene.shown()
    assert [each["signal"] for each in shown["attempts"]] == [signal.SIGTERM]
    assert shown["attempts"][0]["outcome"] == "interrupted"
