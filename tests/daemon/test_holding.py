"""A pause holds a remediation before its next step, whatever the step, and outlives the daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.scenes import Scene
from tests.daemon.test_memento import STEPS, succeed
from yolowatch.daemon.core import Core
from yolowatch.daemon.governing import PAUSED
from yolowatch.daemon.records import Records
from yolowatch.model.actions import RunStep, Signal
from yolowatch.model.plan import Policy


def adopted(folder: Path, mode: str = "auto") -> Scene:
    scene = Scene(folder)
    records = Records(scene.journal, scene.run, scene.said.append)
    scene.core = Core(records, Policy(mode=mode), adopted=True)
    scene.start()
    scene.train()
    return scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return adopted(tmp_path)


def hold(scene: Scene, reason: str | None = PAUSED) -> None:
    scene.actions += scene.core.healing.hold(reason)


def test_a_failure_under_pause_is_planned_and_held(scene: Scene) -> None:
    hold(scene)
    scene.run_out_of_memory()
    assert scene.of(RunStep) == []
    assert scene.core.healing.waiting == PAUSED
    hold(scene, None)
    assert scene.asked().step == "grace"
    assert scene.core.healing.waiting is None


@pytest.mark.parametrize("step", STEPS[:-1])
def test_the_step_under_way_ends_and_the_next_is_not_taken(scene: Scene, step: str) -> None:
    scene.run_out_of_memory()
    scene.carry_out(until=step)
    asked = len(scene.of(RunStep))
    hold(scene)
    scene.done()
    assert len(scene.of(RunStep)) == asked
    assert scene.core.healing.waiting == PAUSED
    assert not scene.core.healing.under_way
    hold(scene, None)
    assert scene.asked().step == STEPS[STEPS.index(step) + 1]
    scene.carry_out()
    assert [r.outcome for r in scene.core.healing.receipts] == ["resumed"]


def test_a_pause_that_ends_during_a_step_was_none(scene: Scene) -> None:
    scene.run_out_of_memory()
    hold(scene)
    hold(scene, None)
    scene.carry_out()
    assert scene.core.attempts == 2


@pytest.mark.parametrize("step", STEPS)
def test_a_successor_that_is_paused_takes_no_step(scene: Scene, step: str) -> None:
    scene.run_out_of_memory()
    scene.carry_out(until=step)
    memento = scene.core.remember()
    assert memento is not None
    records = Records(scene.journal, scene.run, scene.said.append)
    scene.core = Core(records, Policy(), adopted=True)
    scene.core.healing.paused = PAUSED
    asked = len(scene.of(RunStep))
    scene.actions += scene.core.restore(memento)
    assert len(scene.of(RunStep)) == asked
    hold(scene, None)
    assert scene.asked().step == step


def test_what_was_held_stays_so_in_a_successor(scene: Scene) -> None:
    hold(scene)
    scene.run_out_of_memory()
    succeed(scene)
    scene.core.healing.paused = PAUSED
    assert scene.core.healing.waiting == PAUSED
    hold(scene, None)
    assert scene.asked().step == "grace"


def test_a_plan_that_waits_for_a_person_goes_on_waiting(tmp_path: Path) -> None:
    scene = adopted(tmp_path, "recommend")
    scene.run_out_of_memory()
    hold(scene)
    hold(scene, None)
    assert scene.of(RunStep) == []
    assert scene.core.healing.waiting == "mode recommend"


@pytest.mark.parametrize("mode", ["recommend", "observe"])
def test_a_mode_that_became_cautious_meanwhile_counts(scene: Scene, mode: str) -> None:
    hold(scene)
    scene.run_out_of_memory()
    scene.core.healing.policy = Policy(mode=mode)
    hold(scene, None)
    assert scene.of(RunStep) == []
    assert scene.core.healing.waiting == f"mode {mode}"


def test_what_was_approved_goes_on_after_a_pause(tmp_path: Path) -> None:
    scene = adopted(tmp_path, "recommend")
    scene.run_out_of_memory()
    scene.actions += scene.core.healing.approve()
    hold(scene)
    scene.done()
    assert scene.core.healing.waiting == PAUSED
    hold(scene, None)
    assert scene.asked().step == "vault"


def test_nobody_is_signalled_under_pause(scene: Scene) -> None:
    hold(scene)
    scene.fail()
    scene.wait(1000)
    assert scene.of(Signal) == []
    hold(scene, None)
    scene.wait(1)
    assert scene.of(Signal)
