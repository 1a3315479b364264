"""A second process takes the device's memory: the run is not made smaller, it waits or asks.

The driver is faked at its port. Everything else is real: the two processes, what /proc says of
them, the text of the failure, the journal, the look for room.
"""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.parts import FakeClock, FakeNvml
from tests.daemon.scenes import Scene
from tests.decide import build
from tests.decide.corpus import NEIGHBOURS, RESUMED
from yolowatch.edges import proc
from yolowatch.hands.memory import wait_step
from yolowatch.model import events
from yolowatch.model.actions import Finish, RunStep, Say
from yolowatch.model.device import DeviceReading, DeviceUser
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Edits, Policy
from yolowatch.model.run import LastWords, Memory
from yolowatch.model.thresholds import Thresholds

GIB = 1 << 30


@pytest.fixture
def neighbour() -> Iterator[ProcessKey]:
    """A process of the same user that lives as long as the test."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    key = proc.process_key(process.pid)
    assert key is not None
    yield key
    process.communicate()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    scene.start_here()
    return scene


def driver(neighbour: ProcessKey, theirs: int = 22 * GIB, free: int = 1 << 20) -> FakeNvml:
    both = {os.getpid(), neighbour.pid}
    used = {os.getpid(): 2 * GIB, neighbour.pid: theirs}
    return FakeNvml([both], [free], used=used, total=24 * GIB)


def fail(scene: Scene, text: str = NEIGHBOURS[1].text) -> None:
    words = replace(build.failed(), text=text, memory=Memory(GIB, GIB, 0, GIB, 2 * GIB, 0, 1))
    scene.fail(words)
    scene.exit()
    scene.gone()


def test_the_plan_is_to_wait_and_the_configuration_is_untouched(
    scene: Scene, neighbour: ProcessKey
) -> None:
    nvml = driver(neighbour)
    scene.see(nvml)
    fail(scene, NEIGHBOURS[1].text.replace("4009449", str(neighbour.pid)))
    (incident,) = scene.incidents()
    assert incident.kind == "neighbour"
    said = scene.of(Say)[-2].sentence
    for part in (f"process {neighbour.pid}", f"of {getpass.getuser()}", "22.4 GiB"):
        assert part in said
    (record,) = scene.plans()
    assert (record.plan.edits, record.plan.levers) == (Edits(), ())
    room = record.plan.room
    assert room is not None
    assert room.device_index == 0
    assert room.free_bytes == GIB, "what it had and what it asked for beside it"
    scene.carry_out(until="wait")

    clock = FakeClock()  # the device stays full: it is looked at again and again
    detail, found = wait_step(scene.asked().remediation, gone(nvml), clock, 120.0)
    assert found["ready"] is False
    asked = len(scene.of(RunStep))
    scene.done(**found)
    assert [each.step for each in scene.of(RunStep)[asked:]] == ["wait"]
    assert scene.steps()[-1] == ("wait", "intent"), "no row for each look"

    nvml.free = [23 * GIB]  # the neighbour goes
    detail, found = wait_step(scene.asked().remediation, gone(nvml), clock, 120.0)
    assert (found["ready"], detail) == (
        True,
        "23.0 GiB of the device are free, and 1.0 GiB are needed",
    )
    scene.done(**found)
    assert scene.asked().step == "relaunch"
    scene.done()
    assert scene.core.attempts == 2
    (receipt,) = scene.core.healing.receipts
    assert receipt.plan.edits == Edits()
    assert receipt.costs.memory_wait_seconds is not None
    assert receipt.costs.memory_wait_seconds >= 5.0


def gone(nvml: FakeNvml) -> FakeNvml:
    """The failed process is not on the device any more."""
    left = {pid for pid in nvml.used if pid != os.getpid()}
    return replace(nvml, readings=[left], asked=0)


def test_a_neighbour_that_stays_ends_the_wait_and_is_named(
    scene: Scene, neighbour: ProcessKey
) -> None:
    scene.see(driver(neighbour))
    fail(scene, NEIGHBOURS[1].text.replace("4009449", str(neighbour.pid)))
    scene.carry_out(until="wait")
    for _ in range(720):
        if scene.of(Finish):
            break
        scene.done(seconds=5.0, ready=False)
    assert scene.status() == 1
    sentence = scene.said[-1]
    assert "within 1 h 00 min" in sentence
    assert f"process {neighbour.pid} of {getpass.getuser()} with 22.4 GiB" in sentence
    assert scene.core.attempts == 1
    (incident,) = scene.incidents()
    assert (incident.outcome or "").startswith("abandoned: the device did not have")


def test_the_drivers_list_alone_is_enough(scene: Scene, neighbour: ProcessKey) -> None:
    """Texts before torch 2.1 name no process."""
    scene.see(driver(neighbour, theirs=9 * GIB))
    fail(scene, RESUMED[0].text)
    (incident,) = scene.incidents()
    assert incident.kind == "neighbour"


def test_without_a_driver_the_text_is_reported_and_nothing_is_started(scene: Scene) -> None:
    fail(scene)
    (incident,) = scene.incidents()
    assert incident.kind == "neighbour"
    assert scene.plans() == ()
    assert scene.status() == 1
    assert "process 4009449 with 22.4 GiB" in scene.said[-1]
    assert "not made smaller" in scene.said[-1]


def test_the_policy_may_say_not_to_wait(tmp_path: Path, neighbour: ProcessKey) -> None:
    thresholds = Thresholds(neighbour_wait_seconds=0.0)
    scene = Scene(tmp_path, Policy(thresholds=thresholds))
    scene.start_here()
    scene.see(driver(neighbour))
    fail(scene)
    assert scene.plans() == ()
    assert "does not wait" in scene.said[-1]


def test_a_living_run_that_is_squeezed_is_an_incident_and_not_a_remedy(
    scene: Scene, neighbour: ProcessKey
) -> None:
    for _ in range(20):
        used = {"allocated_bytes": round(1.97 * GIB), "capacity_bytes": 2 * GIB}
        scene.tell("sample", phase="forward", epoch=3, step=9, steps=4, seconds=1.0, **used)
        scene.see(driver(neighbour))
    (incident,) = scene.incidents()
    assert (incident.kind, incident.closed) == ("neighbour", None)
    assert f"process {neighbour.pid} of {getpass.getuser()}" in incident.sentence
    assert scene.of(RunStep) == []
    assert scene.core.alive
    scene.tell("bye", finished=True)
    scene.exit(0)
    scene.gone()
    (incident,) = scene.incidents()
    assert incident.outcome == "passed: the attempt ended"


def words_of_resume() -> LastWords:
    place = replace(build.failed().place, step=0)
    return replace(build.failed(), text=RESUMED[0].text, place=place)


def test_right_after_a_resume_the_same_is_tried_once_more(scene: Scene) -> None:
    """The failed attempt's process is still on the device when the next one begins."""
    old = scene.process
    scene.run_out_of_memory()
    scene.carry_out()
    edits = scene.plans()[0].plan.edits
    assert edits.batch == 8
    scene.connect(2)
    scene.describe(2, batch=8, accumulate=8, resumed=True)
    new = scene.process
    used = {new.pid: 2 * GIB, old.pid: 20 * GIB}
    users = tuple(DeviceUser(key.pid, used[key.pid], 1000, "alice", key) for key in (new, old))
    reading = DeviceReading(0, total_bytes=24 * GIB, free_bytes=GIB, users=users)
    scene.step(events.DevicesSeen((reading,), scene.at))
    scene.wait(1.0)
    scene.fail(words_of_resume(), connection=2)
    scene.exit()
    scene.gone(2)
    assert [each.kind for each in scene.incidents()] == ["cuda-oom", "memory-not-back"]
    plan = scene.plans()[-1].plan
    assert (plan.edits, plan.levers) == (edits, ())
    assert plan.room is not None
    assert plan.room.seconds == Policy().memory_wait_seconds
    scene.carry_out()
    scene.connect(3)
    scene.describe(3, batch=8, accumulate=8, resumed=True)
    scene.fail(words_of_resume(), connection=3)
    scene.exit()
    scene.gone(3)
    assert scene.incidents()[-1].kind == "cuda-oom", "what was waited for once is not the cause"
