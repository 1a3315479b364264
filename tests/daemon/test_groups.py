"""A run made of ranks, as the core sees it: one launcher, two processes that train, one failure."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.scenes import LAST, Scene, process, words_fields
from tests.decide import build
from yolowatch.daemon.ending import GROUP_GRACE_SECONDS
from yolowatch.model import events
from yolowatch.model.actions import RunStep, Signal
from yolowatch.model.plan import Policy
from yolowatch.model.run import LastWords

LAUNCHER, RANKS = process(10), (process(50), process(51))
ECHO = replace(build.failed(), exception="RuntimeError", text="[gloo] Connection closed by peer")
WORDS = build.failed(batch=8)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    return started(tmp_path)


def started(folder: Path, policy: Policy | None = None, **told: Any) -> Scene:
    """Two ranks under their launcher, both described; the first has saved an epoch."""
    scene = Scene(folder, policy, trainer="yolov5", nbs=64)
    scene.step(events.Started(0, LAUNCHER, scene.at))
    join(scene, **told)
    return scene


def join(
    scene: Scene, first: int = 1, parent: int | None = None, above: int | None = None, **told: Any
) -> None:
    launcher = scene.process if parent is None else process(parent)
    launched = {"local_world_size": 2, "max_restarts": 0, **told}
    for number, who in enumerate(RANKS):
        connection = first + number
        scene.step(events.HookConnected(who, 0, connection, launcher, above))
        scene.tell("hello", connection, pid=who.pid, rank=number, world_size=2, **launched)
    scene.describe(first)
    # The program of another rank may name its directory after the one that it finds there.
    scene.describe(first + 1, run_dir="/runs/train2", validation_batch=None)
    scene.tell("epoch_end", first, epoch=11, validated=True)
    scene.tell("checkpoint", first, path=LAST, epoch=11, step=450)


def fail(scene: Scene, connection: int = 2, words: LastWords = WORDS) -> None:
    scene.tell("last_words", connection, **words_fields(words))


def end(scene: Scene, first: int = 1) -> None:
    for connection in (first, first + 1):
        scene.gone(connection)
    scene.exit(1)


def test_one_rank_fails_and_all_are_planned_for(scene: Scene) -> None:
    fail(scene)
    fail(scene, 1, ECHO)
    end(scene)
    order = scene.asked().remediation
    assert order.plan.edits.batch is not None
    assert order.plan.edits.batch % 2 == 0
    assert order.plan.edits.nbs == order.plan.effective_batch == 64
    assert order.run_dir == "/runs/train"
    assert set(order.processes) == {LAUNCHER, *RANKS}
    batch = order.plan.edits.batch
    scene.carry_out()
    assert scene.core.user is not None
    scene.spec = {**scene.spec, "batch": batch, "accumulate": 64 // batch, "nbs": 64}
    join(scene, 3)
    assert scene.core.alive
    assert not [each for each in scene.of(Signal) if each.process == scene.process]
    scene.tell("bye", 3, finished=True)
    scene.gone(3)
    scene.gone(4)
    scene.exit(0)
    assert scene.status() == 0
    assert scene.core.summary() == "finished, healed"


def test_a_group_is_ended_early_as_a_whole(scene: Scene) -> None:
    fail(scene)
    assert scene.wait(GROUP_GRACE_SECONDS - 0.1) == []
    scene.wait(0.2)
    termed = scene.of(Signal)
    assert {each.process for each in termed} == {LAUNCHER, *RANKS}
    assert {each.number for each in termed} == {signal.SIGTERM}
    assert "rank 1 ran out of memory" in scene.said[-1]
    assert scene.wait(9.0) == []
    scene.gone(2)
    scene.wait(2.0)
    killed = scene.of(Signal)[3:]
    assert {each.process for each in killed} == {LAUNCHER, RANKS[0]}, "the other is gone"
    assert {each.number for each in killed} == {signal.SIGKILL}
    scene.gone(1)
    scene.exit(None, signal.SIGKILL)
    assert scene.of(RunStep)[0].step == "stop"


@pytest.mark.parametrize("policy", [Policy(mode="observe"), Policy(mode="recommend")])
def test_a_group_is_left_alone_where_nothing_may_be_changed(tmp_path: Path, policy: Policy) -> None:
    scene = started(tmp_path, policy)
    fail(scene)
    assert scene.wait(3600.0) == []


def test_a_failure_that_is_no_lack_of_memory_ends_no_group(scene: Scene) -> None:
    fail(scene, 1, ECHO)
    assert scene.wait(3600.0) == []
    end(scene)
    assert scene.status() == 1
    assert scene.plans() == ()


def test_a_failure_that_a_program_handled_ends_a_group_that_stands_still(scene: Scene) -> None:
    fail(scene, words=replace(WORDS, handled=True))
    assert scene.wait(30.0) == []
    scene.tell("sample", 1, steps=3, step=20)
    assert scene.wait(3600.0) == [], "it trains on"


def test_a_handled_failure_is_planned_for_once_the_group_had_to_be_ended(scene: Scene) -> None:
    fail(scene, words=replace(WORDS, handled=True))
    scene.wait(60.5)
    assert len(scene.of(Signal)) == 3
    end(scene)
    assert scene.asked().step == "stop"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"max_restarts": 3}, "its launcher restarts failed ranks by itself (--max-restarts 3)"),
        ({"local_world_size": 1}, "1 of its 2 ranks run on other machines"),
        ({"max_restarts": None}, "its ranks were not started by torchrun"),
        ({"parent": 77}, "was started by another program"),
    ],
)
def test_groups_that_are_not_restarted(tmp_path: Path, told: dict[str, Any], reason: str) -> None:
    scene = started(tmp_path, **told)
    fail(scene)
    assert scene.wait(3600.0) == [], "nor ended"
    end(scene)
    assert scene.status() == 1
    assert reason in scene.said[-1]
    assert scene.plans() == ()


SPAWNED = process(20)  # the launcher that a trainer has started


def spawning(folder: Path, **told: Any) -> Scene:
    """A trainer that has spawned two ranks: its own process describes the training as well."""
    scene = Scene(folder, entry="script")
    scene.start()
    scene.describe(accumulate=None, entry="command", train_calls=1, **told)
    join(scene, 2, parent=SPAWNED.pid, above=scene.process.pid)
    return scene


def test_ranks_that_a_trainer_spawned_are_one_run_with_it(tmp_path: Path) -> None:
    scene = spawning(tmp_path)
    assert scene.core.user is not None
    assert scene.core.user.entry == "command", "as the process was started that spawned them"
    fail(scene, 3)
    scene.wait(GROUP_GRACE_SECONDS + 0.1)
    assert {each.process for each in scene.of(Signal)} == {SPAWNED, *RANKS}, "it ends after them"
    # What the trainer says of the ranks that it has lost is no cause.
    told = replace(build.failed(), exception="CalledProcessError", text="returned status 1")
    scene.fail(told, 1)
    end(scene, 2)
    scene.gone(1)
    order = scene.asked().remediation
    assert set(order.processes) == {LAUNCHER, SPAWNED, *RANKS}
    assert order.plan.edits.batch is not None
    assert order.plan.edits.batch % 2 == 0
    assert order.user.entry == "command"


def test_a_trainer_that_outlives_its_ranks_is_killed(tmp_path: Path) -> None:
    scene = spawning(tmp_path)
    fail(scene, 3)
    scene.wait(GROUP_GRACE_SECONDS + 0.1)
    asked = len(scene.of(Signal))
    scene.wait(11.0)
    killed = scene.of(Signal)[asked:]
    assert {each.process for each in killed} == {LAUNCHER, SPAWNED, *RANKS}
    assert {each.number for each in killed} == {signal.SIGKILL}


def test_a_program_that_spawned_ranks_twice_is_not_started_again(tmp_path: Path) -> None:
    scene = spawning(tmp_path)
    scene.describe(accumulate=None, entry="script", train_calls=2)
    fail(scene, 3)
    end(scene, 2)
    scene.gone(1)
    assert "started 2 trainings" in scene.said[-1]
    assert scene.plans() == ()


def test_ranks_of_another_program_below_the_trainer_are_left_alone(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.start()
    scene.describe(accumulate=None)
    join(scene, 2, parent=20, above=30)
    fail(scene, 3)
    assert scene.wait(3600.0) == []
    end(scene, 2)
    scene.gone(1)
    assert scene.status() == 1
    assert "was started by another program" in scene.said[-1]


def test_one_rank_alone_is_not_restarted_without_the_others(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.step(events.Started(0, LAUNCHER, scene.at))
    scene.step(events.HookConnected(LAUNCHER, 0, 1, process(5)))
    told = {"rank": 1, "world_size": 2, "local_world_size": 2, "max_restarts": 0}
    scene.tell("hello", 1, pid=10, **told)
    scene.train()
    fail(scene, 1)
    scene.exit(1)
    scene.gone(1)
    assert "the training is one of 2 ranks" in scene.said[-1]


def test_a_rank_that_is_not_what_was_planned_ends_the_group(scene: Scene) -> None:
    fail(scene)
    end(scene)
    scene.carry_out()
    join(scene, 3)
    termed = {each.process for each in scene.of(Signal)}
    assert termed == {scene.process, *RANKS}
    assert "is not what was planned: its batch is 16" in scene.said[-1]
