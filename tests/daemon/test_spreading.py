"""A training on one device is resumed on an idle one too: the core's part of it, with its wait.

The driver is faked at its port. The real process on device 0 is this one.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.parts import FakeClock, SeveralGpus
from tests.daemon.scenes import Scene
from tests.decide.test_opt_in import named
from yolowatch.hands.memory import wait_step
from yolowatch.model import events
from yolowatch.model.actions import Finish, RunStep, Say, Signal

GIB = 1 << 30
ALONE: dict[str, Any] = {
    "gpu": SeveralGpus.name,
    "gpu_number": 0,
    "renumbered": False,
    "spawnable": True,
    "cache": "none",
}


def begun(folder: Path, **changes: Any) -> Scene:
    scene = Scene(folder, named("more gpus"), **{**ALONE, **changes})
    scene.start_here()
    return scene


TWO = SeveralGpus((GIB, 24 * GIB), ({os.getpid()}, set()))


def spread(folder: Path) -> Scene:
    """It has failed, and the plan is on its way to two devices."""
    scene = begun(folder)
    scene.see(TWO)
    scene.run_out_of_memory()
    (record,) = scene.plans()
    assert record.plan.edits.more_gpus == (0, 1)
    scene.carry_out(until="wait")
    return scene


def test_it_is_started_again_once_both_are_free(tmp_path: Path) -> None:
    scene = spread(tmp_path)
    taken = SeveralGpus((24 * GIB, 24 * GIB), (set(), {99}))
    order = scene.asked().remediation
    _, found = wait_step(order, taken, FakeClock(), 30.0)
    assert found["ready"] is False, "somebody has come to the idle one meanwhile"
    asked = len(scene.of(RunStep))
    scene.done(**found)
    assert [each.step for each in scene.of(RunStep)[asked:]] == ["wait"]
    _, found = wait_step(order, replace(taken, users=(set(), set())), FakeClock(), 30.0)
    scene.done(**found)
    assert scene.asked().step == "relaunch"


def test_one_that_is_taken_for_good_ends_the_wait(tmp_path: Path) -> None:
    scene = spread(tmp_path)
    for _ in range(3):
        scene.done(seconds=2000.0, ready=False)
    assert scene.of(Finish)
    assert "a device that was idle is so no more" in scene.of(Say)[-1].sentence


def relaunched(folder: Path, ranks: int) -> Scene:
    """So many ranks of the new attempt have said what they train."""
    scene = spread(folder)
    scene.done()
    assert scene.asked().step == "relaunch"
    scene.done()
    for rank in range(ranks):
        connection = 10 + rank
        scene.step(events.HookConnected(scene.process, 1, connection))
        if ranks > 1:
            scene.tell("hello", connection, rank=rank, world_size=ranks, local_world_size=ranks)
        scene.describe(connection, nbs=64, resumed=True)
    return scene


def test_ranks_as_planned_are_trusted(tmp_path: Path) -> None:
    scene = relaunched(tmp_path, 2)
    assert not [each for each in scene.of(Signal) if each.number == signal.SIGTERM]
    assert scene.core.attempt is not None
    assert scene.core.attempt.distrusted is None


def test_a_training_that_stayed_on_one_device_is_ended(tmp_path: Path) -> None:
    scene = relaunched(tmp_path, 1)
    assert scene.core.attempt is not None
    assert scene.core.attempt.distrusted == "it is made of 1 ranks instead of 2"


@pytest.mark.parametrize(
    ("changes", "gpus", "age", "part"),
    [
        ({}, TWO, 60.0, "what the devices' driver says of them is too old or missing"),
        ({}, None, 0.0, "what the devices' driver says of them is too old or missing"),
        ({}, replace(TWO, users=(set(), {os.getpid()})), 0.0, "calls its device 0"),
        ({}, replace(TWO, users=({os.getpid()}, {os.getpid()})), 0.0, "did not tell on which"),
        ({}, replace(TWO, users=({os.getpid()}, {1})), 0.0, "no other device is known to be idle"),
        ({}, replace(TWO, users=({os.getpid()}, None)), 0.0, "no other device is known"),
        ({"renumbered": True}, TWO, 0.0, "CUDA_VISIBLE_DEVICES"),
        ({"renumbered": None}, TWO, 0.0, "how the training numbers its devices is not known"),
    ],
)
def test_what_is_not_known_to_be_idle_is_left_alone(
    tmp_path: Path, changes: dict[str, Any], gpus: SeveralGpus | None, age: float, part: str
) -> None:
    scene = begun(tmp_path, **changes)
    if gpus is not None:
        scene.see(gpus)
    scene.at += age
    scene.run_out_of_memory()
    assert not scene.plans()
    assert scene.of(Finish)
    (incident,) = scene.incidents()
    assert incident.outcome is not None
    assert incident.outcome.startswith("refused")
    assert part in str(scene.said), scene.said
