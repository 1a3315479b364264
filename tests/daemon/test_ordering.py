"""Live orders as the core gives them: journaled first, acknowledged, in force, and kept to."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.scenes import Scene, full_disk
from tests.decide.build import GIB, MIB, failed, linear_footprints
from yolowatch.model.actions import Order, Signal
from yolowatch.model.plan import Policy

POLICY = Policy(widen_after_batches=50, levers=("multi-scale",))
USER = {"batch": 8, "accumulate": 8, "multi_scale": 0.5, "image_size_max": 960}
MEMORY = {"peak_bytes": 14 * GIB, "capacity_bytes": 24 * GIB, "allocated_bytes": 10 * GIB}


class Narrowed(Scene):
    """A training that trains in a range from 640 px down and up to `largest`."""

    ratio: float = 0.5

    @property
    def largest(self) -> int:
        return round(640 * (1 + self.ratio))

    def told(self, ratio: float) -> None:
        """The trainer says what its range is."""
        self.ratio = ratio
        self.describe(2, multi_scale=ratio, image_size_max=self.largest, resumed=True)

    def measured(self) -> None:
        """Footprints: less than the law of the failed attempt had promised."""
        prints = linear_footprints(2 * GIB, 1500.0, [(8, 640), (8, self.largest)])
        self.tell("footprints", 2, items=_items(prints))


@pytest.fixture
def scene(tmp_path: Path) -> Narrowed:
    """A training that is healed by a narrower range, and trains on connection 2."""
    scene = Narrowed(tmp_path, POLICY, **USER)
    scene.start()
    scene.train()
    scene.tell("footprints", items=_items(linear_footprints(2 * GIB, 3300.0, [(8, 640)])))
    scene.fail(failed(batch=8, side=960, allocated=20 * GIB, requested=6 * GIB, free=MIB))
    scene.exit()
    scene.gone()
    scene.carry_out()
    plan = scene.core.healing.receipts[-1].plan
    assert plan.edits.multi_scale is not None
    assert 0 < plan.edits.multi_scale < 0.5
    assert plan.edits.batch is None
    scene.connect(2)
    scene.told(plan.edits.multi_scale)
    return scene


def _items(prints: Any) -> list[list[Any]]:
    return [list(astuple(each)) for each in prints]


def train_on(scene: Scene, step: int, side: int = 640, phase: str = "forward") -> list[Order]:
    """One window of the resumed training; the orders that follow from it."""
    place = {"phase": phase, "step": step, "batch": 8, "height": side, "width": side}
    actions = scene.tell("sample", 2, **place, **MEMORY, seconds=1.0, steps=10)
    return [action for action in actions if isinstance(action, Order)]


def ordered(scene: Narrowed) -> Order:
    scene.measured()
    assert train_on(scene, 49) == [], "not proven yet"
    (order,) = train_on(scene, 50)
    return order


def steps(scene: Scene) -> list[tuple[str, str]]:
    return [each for each in scene.steps() if each[0].startswith("order")]


def test_a_proven_range_is_widened_step_by_step(scene: Narrowed) -> None:
    order = ordered(scene)
    assert (order.connection, order.name) == (2, "multi_scale")
    assert order.value > scene.core.healing.receipts[-1].plan.edits.multi_scale  # type: ignore[operator]
    assert steps(scene) == [("order 1", "intent")], "journaled before it is sent"
    scene.tell("ack", 2, id=1, accepted=True)
    assert train_on(scene, 52) == [], "one at a time"
    scene.told(order.value)
    assert scene.signals() == [], "it is what was ordered"
    assert steps(scene)[-1] == ("order 1", "done")
    (note,) = [n for n in scene.core.healing.receipts[-1].science if "Since training batch" in n]
    assert note.startswith("Since training batch 52 of attempt 1, image sizes are again ")
    assert scene.said[-1] == note

    scene.measured()
    assert train_on(scene, 101) == [], "each range is proven by batches of its own"
    (second,) = train_on(scene, 102)
    assert second.value > order.value
    assert second.number == 2


def test_the_size_that_failed_is_never_ordered(scene: Narrowed) -> None:
    step = 0
    while step < 10_000:
        scene.measured()
        step += 50
        found = train_on(scene, step)
        if not found:
            break
        assert 640 * (1 + found[0].value) < 960
        scene.tell("ack", 2, id=found[0].number, accepted=True)
        scene.told(found[0].value)
    assert scene.largest == 928
    science = scene.core.healing.receipts[-1].science
    assert sum("Since training batch" in note for note in science) == 1, "the latest alone"


def test_what_is_not_acknowledged_is_said_and_not_tried_again(scene: Narrowed) -> None:
    ordered(scene)
    scene.wait(9.5)
    assert steps(scene)[-1] == ("order 1", "intent")
    scene.wait(1)
    assert steps(scene)[-1] == ("order 1", "failed")
    assert "was not acknowledged in 10 s" in scene.said[-1]
    assert train_on(scene, 500) == []


def test_what_the_hook_refuses_is_said(scene: Narrowed) -> None:
    ordered(scene)
    scene.tell("ack", 2, id=1, accepted=False, reason="no training takes orders at this moment")
    assert steps(scene)[-1] == ("order 1", "failed")
    assert "no training takes orders" in scene.said[-1]
    assert train_on(scene, 500) == []


def test_what_is_acknowledged_and_not_in_force_is_said(scene: Narrowed) -> None:
    ordered(scene)
    scene.tell("ack", 2, id=1, accepted=True)
    train_on(scene, 54)
    assert steps(scene)[-1] == ("order 1", "intent")
    train_on(scene, 55)
    assert steps(scene)[-1] == ("order 1", "failed")
    assert "acknowledged, and is not in force" in scene.said[-1]


def test_the_trainers_word_may_come_before_the_acknowledgement(scene: Narrowed) -> None:
    order = ordered(scene)
    scene.told(order.value)
    assert steps(scene)[-1] == ("order 1", "done")
    scene.tell("ack", 2, id=1, accepted=True)
    train_on(scene, 60)
    scene.wait(60)
    assert steps(scene)[-1] == ("order 1", "done")


def test_batches_beyond_the_ordered_range_are_said(scene: Narrowed) -> None:
    order = ordered(scene)
    scene.tell("ack", 2, id=1, accepted=True)
    scene.told(order.value)
    train_on(scene, 60, side=scene.largest + 32, phase="validation")
    assert steps(scene)[-1] == ("order 1", "done"), "validation has sizes of its own"
    train_on(scene, 61, side=scene.largest + 32)
    assert steps(scene)[-1] == ("order 1", "failed")
    assert f"a batch of {scene.largest + 32} px came" in scene.said[-1]


def test_answers_to_orders_that_nobody_gave_change_nothing(scene: Narrowed) -> None:
    scene.tell("ack", 2, id=1, accepted=True)
    scene.tell("ack", 2, id=7, accepted=False)
    scene.tell("ack", 2)
    ordered(scene)
    scene.tell("ack", 2, id=7, accepted=False)
    assert steps(scene) == [("order 1", "intent")]
    assert not scene.of(Signal)


def test_a_wider_range_that_nobody_ordered_is_not_what_was_planned(scene: Narrowed) -> None:
    scene.told(0.5)
    assert scene.of(Signal)


def test_without_a_journal_nothing_is_ordered(scene: Narrowed) -> None:
    scene.measured()
    with full_disk():
        assert train_on(scene, 50) == []


def test_the_users_own_attempt_gets_no_orders(tmp_path: Path) -> None:
    scene = Scene(tmp_path, POLICY, **USER)
    scene.start()
    scene.train()
    scene.tell("footprints", items=_items(linear_footprints(2 * GIB, 1500.0, [(8, 640)])))
    for step in (50, 500):
        scene.tell("sample", phase="forward", step=step, **MEMORY)
    assert scene.of(Order) == []
