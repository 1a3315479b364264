"""A core that goes on where another was killed: nothing is lost and nothing is done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.scenes import RUN_DIR, Scene
from yolowatch.daemon.core import Core
from yolowatch.daemon.memento import Memento
from yolowatch.daemon.records import Records
from yolowatch.edges import plain
from yolowatch.model import events
from yolowatch.model.actions import Finish, RunStep, Say
from yolowatch.model.plan import Policy

STEPS = ["grace", "stop", "vault", "rewrite", "wait", "relaunch"]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    scene.core = Core(Records(scene.journal, scene.run, scene.said.append), Policy(), adopted=True)
    return scene


def succeed(scene: Scene, policy: Policy | None = None) -> None:
    """The daemon is killed and another one begins, with nothing but what is on disk."""
    memento = scene.core.remember()
    assert memento is not None
    body = plain.to_json(memento)
    again = plain.from_json(Memento, body)
    assert again == memento
    records = Records(scene.journal, scene.run, scene.said.append)
    scene.core = Core(records, policy or Policy(), adopted=True)
    scene.actions += scene.core.restore(again)


def test_a_training_that_lives_on_is_watched_on(scene: Scene) -> None:
    scene.start()
    scene.train()
    succeed(scene)
    assert scene.of(RunStep) == []
    scene.connect(connection=2)
    scene.describe(connection=2)
    scene.run_out_of_memory(connection=2)
    assert scene.asked().step == "grace"
    assert scene.asked().remediation.saved


def test_last_words_outlive_the_daemon_that_heard_them(scene: Scene) -> None:
    scene.start()
    scene.train()
    scene.fail()
    succeed(scene)
    scene.exit(None)
    assert scene.asked().step == "grace"


@pytest.mark.parametrize("step", STEPS)
def test_a_step_under_way_is_asked_for_again(scene: Scene, step: str) -> None:
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out(until=step)
    before = scene.asked()
    succeed(scene)
    assert scene.asked() == before
    assert len(scene.of(RunStep)) == STEPS.index(step) + 2
    if step != "relaunch":
        scene.carry_out()
    else:
        scene.done()
    assert [r.outcome for r in scene.core.healing.receipts] == ["resumed"]
    assert scene.core.attempts == 2


def test_a_successor_finishes_what_the_resumed_training_began(scene: Scene) -> None:
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out()
    succeed(scene)
    scene.connect(connection=2)
    batch = scene.core.healing.receipts[0].plan.edits.batch
    scene.describe(connection=2, batch=batch, accumulate=64 // (batch or 1), run_dir=RUN_DIR)
    scene.tell("bye", connection=2, finished=True)
    scene.exit(None)
    scene.gone(connection=2)
    assert scene.of(Finish)
    assert scene.core.healing.receipts[0].outcome == "finished"


def test_a_plan_that_waits_is_approved_by_a_successor(scene: Scene) -> None:
    scene.core = Core(
        Records(scene.journal, scene.run, scene.said.append),
        Policy(mode="recommend"),
        adopted=True,
    )
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    assert scene.of(RunStep) == []
    assert scene.core.healing.waiting == "mode recommend"
    succeed(scene, Policy(mode="recommend"))
    assert scene.core.healing.waiting == "mode recommend"
    scene.actions += scene.core.healing.approve()
    assert scene.asked().step == "stop"  # nobody else is waited for: a person has decided


def test_whoever_may_start_it_again_makes_the_plan_wait(scene: Scene) -> None:
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    scene.failed("the shell that started it still runs")
    assert scene.core.healing.waiting == "the shell that started it still runs"
    assert scene.status() is None
    assert scene.of(Say)[-1].sentence.startswith("the plan waits for approval")


def test_nothing_is_done_for_a_run_that_somebody_took_over(scene: Scene) -> None:
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    scene.actions += scene.core.healing.stand_down("the user has started it again")
    assert scene.status() == 1
    assert scene.restored() == []
    assert scene.step(events.Tick(scene.at + 9)) == []
