"""Incidents of runs that live, through the core: opened once, shown, closed, and never acted on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.daemon import test_groups as groups
from tests.daemon.scenes import Scene
from tests.decide.build import GIB, MIB
from yolowatch.daemon.records import Records
from yolowatch.model import events
from yolowatch.model.actions import RunStep, Say, Signal
from yolowatch.model.device import DeviceReading, DeviceUser
from yolowatch.model.host import RunHost
from yolowatch.model.plan import Policy
from yolowatch.model.thresholds import Thresholds


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    scene.start()
    scene.train()
    return scene


def sample(scene: Scene, connection: int = 1, **fields: Any) -> None:
    told: dict[str, Any] = {
        "phase": "backward", "epoch": 12, "step": round(scene.at * 4), "steps": 4, "seconds": 1.0,
        "batch": 16, "height": 640, "width": 640, "boxes": 90, "retries": 0,
        "allocated_bytes": 12 * GIB, "reserved_bytes": 13 * GIB, "capacity_bytes": 24 * GIB,
        "allocated_min_bytes": 2 * GIB, "allocated_max_bytes": 12 * GIB,
    }  # fmt: skip
    scene.tell("sample", connection, **{**told, **fields})


def kinds(scene: Scene) -> list[str]:
    return [each.kind for each in scene.incidents()]


def near(scene: Scene, seconds: int) -> None:
    for _ in range(seconds):
        sample(scene, allocated_bytes=round(23.5 * GIB), allocated_max_bytes=round(23.5 * GIB))
        scene.wait(1.0)


def calm(scene: Scene, seconds: int) -> None:
    for _ in range(seconds):
        sample(scene)
        scene.wait(1.0)


def test_near_oom_is_one_incident_that_passes(scene: Scene) -> None:
    near(scene, 29)
    assert kinds(scene) == []
    near(scene, 60)
    (incident,) = scene.incidents()
    assert (incident.kind, incident.outcome) == ("near-oom", None)
    assert "23.5 GiB in use of 24.0 GiB at 640 px with batch 16" in incident.sentence
    assert scene.said.count(incident.sentence) == 1
    calm(scene, 70)
    (incident,) = scene.incidents()
    assert incident.outcome == "passed"
    near(scene, 100)
    assert len(scene.incidents()) == 1, "not before the cool-down has passed"
    assert scene.of(RunStep) + scene.of(Signal) == []


def test_it_is_counted_and_shown_to_people(scene: Scene) -> None:
    near(scene, 40)
    again = Records(scene.journal, scene.run, scene.said.append)
    assert [each.kind for each in again.incidents.values()] == ["near-oom"]


def test_a_look_is_made_every_two_seconds_whatever_arrives(scene: Scene) -> None:
    said = len(scene.of(Say))
    for _ in range(400):  # ten windows a second, as near danger
        sample(scene, allocated_bytes=round(23.5 * GIB), allocated_max_bytes=round(23.5 * GIB))
        scene.wait(0.1)
    assert kinds(scene) == ["near-oom"]
    assert len(scene.of(Say)) == said + 1


def test_a_leak_is_seen_over_epochs_that_no_memory_of_windows_spans(scene: Scene) -> None:
    for epoch in range(12, 20):
        for _ in range(200):  # far more windows than are kept
            sample(scene, epoch=epoch, allocated_min_bytes=2 * GIB + (epoch - 12) * 100 * MIB)
            scene.wait(1.0)
    (incident,) = scene.incidents()
    assert incident.kind == "leak"
    assert "grows by 100.0 MiB with every epoch" in incident.sentence


def test_a_wedged_rank_is_named(tmp_path: Path) -> None:
    scene = groups.started(tmp_path)
    for connection, step in ((1, 41), (2, 40)):
        sample(scene, connection, step=step)
    for _ in range(310):
        for connection, step in ((1, 41), (2, 40)):
            sample(scene, connection, step=step, steps=0)
        scene.wait(1.0)
    (incident,) = scene.incidents()
    assert incident.kind == "wedged-rank"
    assert incident.sentence.startswith("Rank 1 has stood at batch 40 in backward for 5 min")
    assert scene.of(Signal) == []


def reading(scene: Scene, **changes: Any) -> DeviceReading:
    user = DeviceUser(scene.process.pid, 13 * GIB, 1000, "alice", scene.process)
    return replace(DeviceReading(0, total_bytes=24 * GIB, users=(user,), xids=5), **changes)


def test_an_xid_is_an_incident_and_the_reason_of_what_follows(scene: Scene) -> None:
    scene.step(events.DevicesSeen((reading(scene),), scene.at))
    scene.wait(2.0)
    assert kinds(scene) == [], "what the device had before is not this attempt's"
    scene.step(events.DevicesSeen((reading(scene, xids=6, last_xid=79),), scene.at))
    scene.wait(2.0)
    assert kinds(scene) == ["device-fault"]
    scene.exit(None, 6)
    scene.gone()
    assert kinds(scene) == ["device-fault", "device-fault"]
    assert scene.plans() == ()
    assert scene.status() == 128 + 6
    assert scene.said[-1].startswith(
        "not restarted: Nothing is changed: Killed by signal 6 after a"
    )


def test_little_shared_memory_is_an_incident(scene: Scene) -> None:
    scene.describe(workers=8)
    for _ in range(20):
        host = RunHost(shm_used_bytes=63 * MIB, shm_capacity_bytes=64 * MIB)
        scene.step(events.HostSeen({scene.run: host}, scene.at))
        scene.wait(1.0)
    assert kinds(scene) == ["shared-memory"]


def test_readings_that_are_old_say_nothing(scene: Scene) -> None:
    scene.describe(workers=8)
    host = RunHost(shm_used_bytes=63 * MIB, shm_capacity_bytes=64 * MIB)
    scene.step(events.HostSeen({scene.run: host}, scene.at - 100.0))
    for _ in range(20):
        scene.wait(1.0)
    assert kinds(scene) == []


def test_the_policy_sets_the_thresholds(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Policy(thresholds=Thresholds(near_oom_headroom=0.01)))
    scene.start()
    scene.train()
    near(scene, 60)
    assert kinds(scene) == []


def test_a_healthy_run_opens_nothing(scene: Scene) -> None:
    calm(scene, 300)
    assert scene.incidents() == ()
