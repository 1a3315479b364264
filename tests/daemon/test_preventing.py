"""What is foreseen is prevented in the training that runs: journaled, ordered, and on a receipt."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.scenes import Scene, full_disk
from tests.decide.build import GIB, linear_footprints
from yolowatch.daemon.records import Records
from yolowatch.decide.learning import key_of
from yolowatch.model import events
from yolowatch.model.actions import Order, Say
from yolowatch.model.forecast import Lesson
from yolowatch.model.plan import Policy

POLICY = Policy(prevention_cooldown_seconds=5.0)
USER = {
    "batch": 8,
    "accumulate": 8,
    "multi_scale": 0.5,
    "image_size_max": 960,
    "image_size_min": 320,
    "validation_batch": 16,
}
MEMORY = {"peak_bytes": 8 * GIB, "capacity_bytes": 12 * GIB, "allocated_bytes": 4 * GIB}
SIDES = (320, 448, 576, 640)


def started(folder: Path, policy: Policy = POLICY, **spec: Any) -> Scene:
    """A described training of the user's own that has begun, and a device of 12 GiB."""
    scene = Scene(folder, policy, **{**USER, **spec})
    scene.start()
    scene.train(epoch=0)
    window(scene, 3)
    return scene


def window(scene: Scene, step: int, **place: Any) -> list[Order]:
    told = {"phase": "forward", "step": step, "epoch": 0, "batch": 8, "height": 640, "width": 640}
    return orders(scene.tell("sample", **{**told, **place}, **MEMORY, seconds=1.0, steps=3))


def orders(actions: list[Any]) -> list[Order]:
    return [action for action in actions if isinstance(action, Order)]


def measured(scene: Scene, per_pixel: float = 1700.0) -> list[Order]:
    """The footprints of a few batches of this law: up to 6.8 GiB at 640 px, 13.7 at 960 px."""
    prints = linear_footprints(2 * GIB, per_pixel, [(8, side) for side in SIDES])
    return orders(scene.tell("footprints", items=[list(astuple(each)) for each in prints]))


def ordered(scene: Scene) -> Order:
    (order,) = measured(scene)
    return order


def test_a_range_that_will_not_fit_is_narrowed_before_it_fails(tmp_path: Path) -> None:
    scene = started(tmp_path)
    order = ordered(scene)
    assert order.name == "multi_scale"
    side = round(640 * (1 + order.value))
    assert 640 < side < 960
    (incident,) = scene.incidents()
    assert (incident.kind, incident.outcome) == ("foreseen-oom", None)
    assert scene.steps() == [("order 1", "intent")], "journaled before it is sent"
    scene.tell("ack", id=1, accepted=True)
    scene.describe(multi_scale=order.value, image_size_max=side)
    assert scene.steps()[-1] == ("order 1", "done")
    assert scene.incidents()[0].outcome == "prevented"
    (receipt,) = scene.core.ordering.living.receipts
    assert receipt.outcome == "prevented"
    assert receipt.to_json()["resume"]["start"] == "live"
    assert receipt.costs.steps_lost == 0
    assert any("this alters the result" in note for note in receipt.science)
    assert measured(scene) == [], "what is left fits"
    # A later attempt keeps what was ordered.
    assert scene.core.user is not None
    assert scene.core.user.multi_scale == 0.5


def test_what_fits_is_left_alone(tmp_path: Path) -> None:
    scene = started(tmp_path)
    assert measured(scene, 1100.0) == []
    assert scene.incidents() == ()


def test_an_unknown_capacity_orders_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, POLICY, **USER)
    scene.start()
    scene.train(epoch=0)
    assert measured(scene) == []


@pytest.mark.parametrize(
    "policy",
    [replace(POLICY, mode="observe"), replace(POLICY, prevention=False)],
)
def test_a_policy_that_does_not_want_it(policy: Policy, tmp_path: Path) -> None:
    scene = started(tmp_path, policy)
    assert measured(scene) == []
    assert scene.incidents() == ()


def test_recommend_says_it_once(tmp_path: Path) -> None:
    scene = started(tmp_path, replace(POLICY, mode="recommend"))
    assert measured(scene) == []
    assert "is recommended" in scene.said[-1]
    assert scene.incidents()[0].outcome == "recommended"
    scene.at += 60
    assert measured(scene) == []
    assert len(scene.incidents()) == 1


def test_nothing_is_ordered_while_everything_is_paused(tmp_path: Path) -> None:
    scene = started(tmp_path)
    scene.core.healing.paused = "somebody paused it"
    assert measured(scene) == []


def test_nothing_is_ordered_that_is_not_journaled(tmp_path: Path) -> None:
    scene = started(tmp_path)
    with full_disk():
        assert measured(scene) == []


def test_what_the_hook_refuses_is_not_ordered_again(tmp_path: Path) -> None:
    scene = started(tmp_path)
    ordered(scene)
    scene.tell("ack", id=1, accepted=False, reason="this training takes no order of that name")
    assert scene.steps()[-1] == ("order 1", "failed")
    assert scene.incidents()[0].outcome is not None
    assert scene.incidents()[0].outcome.startswith("failed: the hook does not obey")
    scene.at += 60
    assert measured(scene) == []
    assert scene.core.ordering.living.receipts == ()


def test_between_two_orders_there_is_a_pause(tmp_path: Path) -> None:
    scene = started(tmp_path)
    order = ordered(scene)
    scene.tell("ack", id=1, accepted=True)
    scene.describe(multi_scale=order.value, image_size_max=round(640 * (1 + order.value)))
    assert measured(scene, 2400.0) == []
    scene.at += 5
    (second,) = measured(scene, 2400.0)
    assert second.value < order.value


def test_a_narrowed_range_comes_back_where_there_is_proven_room(tmp_path: Path) -> None:
    scene = started(tmp_path, replace(POLICY, widen_after_batches=50))
    order = ordered(scene)
    side = round(640 * (1 + order.value))
    scene.tell("ack", id=1, accepted=True)
    scene.describe(multi_scale=order.value, image_size_max=side)
    prints = linear_footprints(2 * GIB, 1400.0, [(8, 640), (8, side)])
    scene.tell("footprints", items=[list(astuple(each)) for each in prints])
    assert window(scene, 49) == []
    (wider,) = window(scene, 90)
    assert (wider.name, wider.value > order.value) == ("multi_scale", True)
    scene.tell("ack", id=2, accepted=True)
    scene.describe(multi_scale=wider.value, image_size_max=round(640 * (1 + wider.value)))
    (receipt,) = scene.core.ordering.living.receipts
    assert "image sizes are again" in receipt.science[-1]


def test_a_training_that_nothing_helps_leaves_at_the_end_of_its_epoch(tmp_path: Path) -> None:
    """And is started again with a smaller batch, as after a failure, with nothing lost."""
    scene = started(tmp_path, multi_scale=0.0, image_size_max=640, image_size_min=640)
    window(scene, 60)
    order = leave(scene)
    assert order.name == "leave"
    scene.tell("ack", id=1, accepted=True)
    scene.describe(leaving=True, multi_scale=0.0, image_size_max=640, image_size_min=640)
    assert scene.steps() == [("order 1", "intent"), ("order 1", "done")]
    scene.tell("checkpoint", path="/runs/train/weights/last.pt", epoch=1, step=900)
    scene.tell("left", epoch=1)
    scene.exit(75)
    scene.gone()
    assert scene.asked().step == "stop"
    plan = scene.asked().remediation.plan
    assert plan.edits.batch is not None
    assert plan.edits.batch < 8
    scene.carry_out()
    receipt = scene.core.healing.receipts[-1]
    assert receipt.verdict.kind.value == "foreseen-oom"
    assert receipt.costs.steps_lost == 0


def leave(scene: Scene) -> Order:
    """The law of the training steps is above the capacity with the batch that is trained."""
    prints = linear_footprints(2 * GIB, 4600.0, [(8, side) for side in (320, 448, 512)])
    (order,) = orders(scene.tell("footprints", items=[list(astuple(e)) for e in prints]))
    return order


def test_an_adopted_training_is_never_asked_to_leave(tmp_path: Path) -> None:
    scene = started(tmp_path, multi_scale=0.0, image_size_max=640, image_size_min=640)
    window(scene, 60)
    scene.core.healing.adopted = True
    prints = linear_footprints(2 * GIB, 4600.0, [(8, side) for side in (320, 448, 512)])
    assert orders(scene.tell("footprints", items=[list(astuple(e)) for e in prints])) == []


def test_a_rescue_is_on_record(tmp_path: Path) -> None:
    scene = started(tmp_path)
    place = {"phase": "forward", "step": 7, "batch": 8, "height": 960, "width": 960}
    text = "CUDA out of memory. Tried to allocate 2.00 GiB."
    failure = {"exception": "torch.OutOfMemoryError", "text": text, "capacity_bytes": 12 * GIB}
    actions = scene.tell("rescue", what="step", blocks=9, **place, **failure)
    (said,) = [action for action in actions if isinstance(action, Say)]
    assert "CUDA out of memory in forward at 960 px with batch 8" in said.sentence
    assert "survived" in said.sentence
    (incident,) = scene.incidents()
    assert (incident.kind, incident.outcome) == ("cuda-oom", "rescued")
    (receipt,) = scene.core.ordering.living.receipts
    assert receipt.plan.levers[0].name == "checkpointing"
    assert any("computed again" in note for note in receipt.science)

    place["phase"] = "validation"
    scene.tell("rescue", what="validation", before=16, after=8, **place, **failure)
    state = scene.core.state()
    assert state.spec is not None
    assert state.spec.validation_batch == 8
    assert len(scene.core.ordering.living.receipts) == 2

    for _ in range(100):  # as a hostile process may
        scene.tell("rescue", what="validation", before=16, after=8, **place, **failure)
    assert len(scene.core.ordering.living.receipts) == len(scene.incidents()) == 32


def test_a_guarded_start_is_on_a_receipt(tmp_path: Path) -> None:
    scene = started(tmp_path, guarded=True)
    (receipt,) = scene.core.ordering.living.receipts
    assert receipt.verdict.sentence.startswith("A guarded start: in the first 8 batches")
    scene.describe(guarded=False)
    assert len(scene.core.ordering.living.receipts) == 1


def test_an_earlier_runs_law_is_enough_before_the_first_batch(tmp_path: Path) -> None:
    described = {"model": "m.yaml", "classes": 80, "gpu": "a GPU", "parameter_bytes": 10_000_000}
    scene = Scene(tmp_path, POLICY, **{**USER, **described})
    scene.start()
    scene.tell("hello", python="3.12.0", torch="2.9.0")
    scene.describe()
    key = key_of(scene.core.state())
    assert key is not None
    assert window(scene, 0) == [], "nobody knows anything"
    Records(scene.journal, scene.run, scene.said.append).learn(key, Lesson(1700.0, 1e7))
    scene.step(events.ProcessExited(scene.process, 0, None, scene.at))

    other = Scene(tmp_path, POLICY, **{**USER, **described})
    other.start()
    other.tell("hello", python="3.12.0", torch="2.9.0")
    other.describe()
    (order,) = window(other, 0)
    assert order.name == "multi_scale"
    assert order.value < 0.5


def test_what_is_cached_is_given_back_first_where_the_policy_says_so(tmp_path: Path) -> None:
    scene = started(tmp_path, replace(POLICY, release_cache=True), releasing=False)
    order = ordered(scene)
    assert (order.name, order.value) == ("release", 1.0)
    scene.tell("ack", id=1, accepted=True)
    scene.describe(releasing=True)
    assert scene.steps()[-1] == ("order 1", "done")
    scene.tell("released", seconds=0.25, bytes=3 * GIB)
    scene.tell("released", seconds=0.5, bytes=GIB)
    scene.at += 5
    (second,) = measured(scene)
    assert second.name == "multi_scale", "it was not enough"
    scene.exit(0)
    scene.gone()
    (receipt,) = scene.core.ordering.living.receipts
    assert receipt.costs.seconds_lost == 0.75
    assert "given back 2 times, in 0.75 s in all, at most 3.0 GiB" in receipt.science[-1]
    assert [each.outcome for each in scene.incidents()][-1] == "the training ended before"
