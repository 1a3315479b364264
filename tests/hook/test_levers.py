"""What the hook changes in a training on its own: the guard, the departure, a rescue's first half.

Real trainers do it in tests/trainers; here is what must hold of each before it may touch one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from yolowatch.hook import patches, settings
from yolowatch.hook.levers import departing, guarding, multi_scale, rescue
from yolowatch.hook.place import place

SIZE, STRIDE = 640, 32


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    place.train_calls, place.step = 1, 0
    yield
    guarding.end()
    departing.none()
    settings.forget()
    patches.take_back()
    multi_scale._installed.clear()
    place.train_calls, place.step = 0, 0


def drawn(program: dict[str, Any], count: int = 400) -> set[int]:
    """Sizes as a trainer of the family draws them."""
    draw = program["random"].randrange
    return {
        draw(int(SIZE * 0.5), int(SIZE * 1.5) + STRIDE) // STRIDE * STRIDE for _ in range(count)
    }


@pytest.fixture
def guarded() -> dict[str, Any]:
    program: dict[str, Any] = {"random": random}
    settings.give({"YOLOWATCH_GUARD": "8"})
    guarding.begin(program, SIZE, STRIDE)
    return program


def test_a_guard_keeps_sizes_down_and_lets_small_ones_come(guarded: dict[str, Any]) -> None:
    sizes = drawn(guarded)
    assert guarding.guard.active
    assert (min(sizes), max(sizes)) == (320, SIZE)


def test_a_guard_ends_after_its_batches_and_the_time_of_an_answer(
    guarded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, told = [100.0], []
    monkeypatch.setattr(guarding, "time", SimpleNamespace(monotonic=lambda: now[0]))
    guarding.batch(lambda: told.append("run"))
    place.step = 8
    now[0] += 0.5
    guarding.batch(lambda: told.append("run"))
    assert guarding.guard.active, "the daemon may still be answering"
    now[0] += 1
    guarding.batch(lambda: told.append("run"))
    assert (guarding.guard.active, told) == (False, ["run"])
    assert max(drawn(guarded)) == 960


def test_without_the_policy_or_in_a_later_training_nothing_is_guarded() -> None:
    program: dict[str, Any] = {"random": random}
    guarding.begin(program, SIZE, STRIDE)
    settings.give({"YOLOWATCH_GUARD": "8"})
    place.train_calls = 2
    guarding.begin(program, SIZE, STRIDE)
    assert not guarding.guard.active
    assert program["random"] is random


def test_a_training_leaves_only_when_it_was_asked_and_is_not_over() -> None:
    departing.saved(3, False)
    assert not departing.departure.due
    departing.order()
    departing.saved(4, True)
    assert not departing.departure.due, "it ends anyway"
    departing.saved(4, False)
    assert departing.departure.due
    with pytest.raises(SystemExit) as left:
        departing.depart()
    assert left.value.code == departing.STATUS
    assert not departing.departure.wanted


class Loader:
    def __init__(self, batch: int) -> None:
        self.batch_size = batch


def validator(failures: int, error: BaseException) -> tuple[Any, list[int]]:
    """A class whose validation fails so often; and the batches that it was tried with."""
    tried: list[int] = []

    class Validator:
        def __init__(self, loader: Loader) -> None:
            self.loader = loader

        def __call__(self) -> str:
            tried.append(self.loader.batch_size)
            if len(tried) <= failures:
                raise error
            return "metrics"

    return Validator, tried


OOM = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.fixture
def shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loader that is no torch one."""

    def shrink(loader: Loader, batch: int) -> None:
        loader.batch_size = batch

    monkeypatch.setattr(rescue.validation_batch, "shrink", shrink)
    monkeypatch.setattr(rescue.emergency, "free", lambda: None)


def watched(failures: int, error: BaseException, batch: int = 12) -> tuple[Any, list[int]]:
    owner, tried = validator(failures, error)
    rescue.watch_validation(owner, "__call__", lambda mine: mine.loader)
    return owner(Loader(batch)), tried


@pytest.mark.usefixtures("shrinks")
def test_a_validation_is_tried_with_ever_smaller_parts_of_its_batch() -> None:
    settings.give({"YOLOWATCH_RESCUE": "1"})
    validate, tried = watched(2, OOM)
    assert validate() == "metrics"
    assert tried == [12, 6, 3]


@pytest.mark.usefixtures("shrinks")
def test_a_single_image_that_fails_fails() -> None:
    settings.give({"YOLOWATCH_RESCUE": "1"})
    validate, tried = watched(9, OOM, batch=2)
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        validate()
    assert tried == [2, 1]


@pytest.mark.usefixtures("shrinks")
@pytest.mark.parametrize(
    ("armed", "error"),
    [("1", ValueError("no such image")), ("1", RuntimeError("no such image")), ("0", OOM)],
)
def test_what_is_no_memory_failure_or_not_asked_for_passes(
    armed: str, error: BaseException
) -> None:
    settings.give({"YOLOWATCH_RESCUE": armed})
    validate, tried = watched(1, error)
    with pytest.raises(type(error)):
        validate()
    assert len(tried) == 1


@pytest.mark.usefixtures("shrinks")
@pytest.mark.parametrize(("saved", "tries"), [(True, [12, 6]), (False, [12])])
def test_a_final_validation_alone_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, saved: bool, tries: list[int]
) -> None:
    settings.give({"YOLOWATCH_RESCUE": "final"})
    monkeypatch.setattr(place, "all_saved", saved)
    validate, tried = watched(1, OOM)
    if saved:
        assert validate() == "metrics"
    else:
        with pytest.raises(RuntimeError, match="CUDA out of memory"):
            validate()
    assert tried == tries


@pytest.mark.usefixtures("shrinks")
def test_a_rank_is_never_rescued(monkeypatch: pytest.MonkeyPatch) -> None:
    settings.give({"YOLOWATCH_RESCUE": "1"})
    monkeypatch.setenv("WORLD_SIZE", "2")
    validate, tried = watched(1, OOM)
    with pytest.raises(RuntimeError):
        validate()
    assert len(tried) == 1
