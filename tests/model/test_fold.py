"""Messages become state by `fold` alone, and nothing unknown becomes zero."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hook.test_wire import MESSAGES
from yolowatch.hook import wire
from yolowatch.model.fold import FIRST_FOOTPRINTS, MAX_FOOTPRINTS, MAX_SAMPLES, fold
from yolowatch.model.run import Footprint, Memory, Place, RunSpec, RunState


def folded(*messages: tuple[str, dict[str, Any]]) -> RunState:
    state = RunState(attempt=0)
    for at, (kind, body) in enumerate(messages):
        state = fold(state, kind, wire.decode(wire.encode(kind, body))[1], float(at))
    return state


def test_the_state_of_a_short_training() -> None:
    state = folded(
        ("hello", {"pid": 7, "python": "3.11.7", "torch": "2.15.0", "hook": "abc"}),
        ("run", {"trainer": "ultralytics", "batch": 16, "accumulate": 4, "entry": "command"}),
        ("sample", {"phase": "forward", "epoch": 0, "step": 3, "allocated_bytes": 5, "dropped": 2}),
        ("footprints", {"items": [["backward", 16, 640, 640, 9, 100, 900, True, 0]]}),
        ("checkpoint", {"path": "/runs/last.pt", "epoch": 0}),
        ("epoch_end", {"epoch": 0, "validated": True}),
        ("retry", {"batch_before": 16, "text": "CUDA out of memory."}),
        ("fault", {"where": "oom", "text": "KeyError: 'x'", "count": 3}),
        ("last_words", {"exception": "ValueError", "text": "no", "phase": "save", "handled": True}),
        ("bye", {"finished": True, "epoch": 0}),
    )
    assert state.hooked
    assert (state.python, state.torch, state.hook, state.connected) == (
        "3.11.7", "2.15.0", "abc", 1,
    )  # fmt: skip
    assert state.spec is not None
    assert state.spec.effective_batch == 64
    assert state.place == Place(phase="forward", epoch=0, step=3)
    assert state.memory == Memory(allocated_bytes=5)
    assert state.samples[0].at == 2.0
    assert state.footprints == (Footprint("backward", 16, 640, 640, 9, 100, 900, True, 0),)
    assert state.footprints[0].pixels == 16 * 640 * 640
    assert state.checkpoint is not None
    assert (state.checkpoint.path, state.checkpoint.epoch) == ("/runs/last.pt", 0)
    assert state.last_epoch_ended == 0
    assert (state.retries[0].batch_before, state.retries[0].at) == (16, 6.0)
    assert (state.faults, state.fault_text, state.dropped) == (3, "oom: KeyError: 'x'", 2)
    assert state.last_words is not None
    assert (state.last_words.exception, state.last_words.handled) == ("ValueError", True)
    assert state.finished
    assert state.messages == 10


@given(st.lists(MESSAGES, max_size=8))
def test_any_well_formed_messages_are_folded(sent: list[tuple[str, dict[str, Any]]]) -> None:
    state = folded(*sent)
    assert state.messages == len(sent)
    assert state.hooked == bool(sent)
    # Only an explicit word finishes a run, and only explicit zeros are zeros.
    assert not state.finished or any(kind == "bye" for kind, _ in sent)
    if not any(kind == "sample" for kind, _ in sent):
        assert state.memory == Memory()
        assert state.place == Place()


def test_messages_that_say_too_little_change_nothing() -> None:
    state = folded(
        ("run", {"batch": 16}),
        ("checkpoint", {"path": "/runs/last.pt"}),
        ("epoch_end", {}),
        ("footprints", {"items": [["backward", None, 640, 640, 1, 1, 1, True, 0]]}),
        ("bye", {}),
        ("order", {"id": 1}),
    )
    assert state == RunState(attempt=0, messages=6)


def test_a_later_description_replaces_the_earlier_whole() -> None:
    state = folded(
        ("run", {"trainer": "ultralytics", "batch": 16, "nbs": 64}),
        ("run", {"trainer": "ultralytics", "batch": 8}),
    )
    assert state.spec == RunSpec(trainer="ultralytics", batch=8)


def test_counters_never_fall() -> None:
    state = folded(
        ("sample", {"dropped": 5, "faults": 2}),
        ("sample", {"dropped": 3}),
        ("fault", {"where": "a", "text": "b", "count": 1}),
    )
    assert (state.dropped, state.faults) == (5, 2)


def test_histories_are_bounded_and_the_first_footprints_stay() -> None:
    state = RunState(attempt=0)
    for step in range(MAX_SAMPLES + 50):
        state = fold(state, "sample", {"step": step}, float(step))
    assert len(state.samples) == MAX_SAMPLES
    assert state.samples[-1].place.step == MAX_SAMPLES + 49
    for step in range(MAX_FOOTPRINTS + 100):
        item = ["backward", 1, 1, 1, 0, step, step, False, 0]
        state = fold(state, "footprints", {"items": [item]}, 0.0)
    peaks = [each.peak_bytes for each in state.footprints]
    assert len(peaks) == MAX_FOOTPRINTS
    assert peaks[:FIRST_FOOTPRINTS] == list(range(FIRST_FOOTPRINTS))
    assert peaks[-1] == MAX_FOOTPRINTS + 99
    for _ in range(30):
        state = fold(state, "retry", {"text": "again"}, 0.0)
    assert len(state.retries) == 16


@pytest.mark.parametrize(
    ("memory", "headroom"),
    [
        (Memory(allocated_bytes=3, capacity_bytes=10), 7),
        (Memory(allocated_bytes=12, capacity_bytes=10), 0),
        (Memory(allocated_bytes=3), None),
        (Memory(capacity_bytes=10), None),
    ],
)
def test_headroom_is_unknown_unless_both_are_known(memory: Memory, headroom: int | None) -> None:
    assert memory.headroom_bytes == headroom


@pytest.mark.parametrize(
    ("batch", "accumulate", "effective"),
    [(16, 4, 64), (None, 4, None), (16, None, None), (-1, 4, None), (0, 4, None)],
)
def test_the_effective_batch_is_unknown_unless_both_are_known(
    batch: int | None, accumulate: int | None, effective: int | None
) -> None:
    assert RunSpec("ultralytics", batch=batch, accumulate=accumulate).effective_batch == effective


def test_pixels_need_every_side() -> None:
    assert Place(batch=2, height=3, width=4).pixels == 24
    assert Place(batch=2, height=3).pixels is None


def test_every_field_of_the_wire_has_a_place_in_the_model() -> None:
    spec = {each.name for each in fields(RunSpec)}
    assert spec == set(wire.FIELDS["run"])
    memory = {each.name for each in fields(Memory)}
    place = {each.name for each in fields(Place)}
    assert memory | place < set(wire.FIELDS["sample"])
    assert memory | place < set(wire.FIELDS["last_words"])
