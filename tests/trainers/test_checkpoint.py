"""What a checkpoint says is read without running anything that is written into it."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolowatch.trainers import checkpoint
from yolowatch.trainers.checkpoint import (
    CheckpointFacts,
    CheckpointUnreadable,
    read_facts,
    resumable,
)

SAVED: dict[str, Any] = {
    "epoch": 7,
    "best_fitness": 0.5,
    "model": None,
    "ema": OrderedDict(weight=[1.0, 2.0], nested={"epoch": 99, "optimizer": None}),
    "optimizer": {"state": {0: {"momentum_buffer": (1, 2)}}, "param_groups": [{"lr": 0.01}]},
    "opt": {"batch_size": 16, "resume": False},
    "date": "2026-11-21",
}


@pytest.mark.parametrize("protocol", range(6))
def test_the_facts_are_read_from_every_protocol(protocol: int) -> None:
    facts = read_facts(pickle.dumps(SAVED, protocol))
    assert facts == CheckpointFacts(7, True, tuple(SAVED))
    assert resumable(facts) is None


@pytest.mark.parametrize(
    ("changes", "facts", "why"),
    [
        ({"epoch": -1, "optimizer": None}, (-1, False), "finished training"),
        ({"epoch": -1}, (-1, True), "finished training"),
        ({"optimizer": None}, (7, False), "no optimizer state"),
        ({"epoch": None}, (None, True), "does not say which epoch"),
        ({"epoch": True}, (None, True), "does not say which epoch"),
        ({"epoch": 2.0}, (None, True), "does not say which epoch"),
    ],
)
def test_finished_is_not_dead(
    changes: dict[str, Any], facts: tuple[int | None, bool], why: str
) -> None:
    found = read_facts(pickle.dumps(SAVED | changes, 2))
    assert (found.epoch, found.optimizer) == facts
    assert why in (resumable(found) or "")


def test_a_missing_key_is_unknown_and_not_none() -> None:
    found = read_facts(pickle.dumps({"epoch": 1}, 2))
    assert found.optimizer is None
    assert "optimizer" in (resumable(found) or "")
    assert read_facts(pickle.dumps({}, 2)) == CheckpointFacts(None, None, ())


def test_a_shared_object_is_followed_through_the_memo() -> None:
    shared = {"lr": 0.1}
    facts = read_facts(pickle.dumps({"a": shared, "epoch": 4, "optimizer": shared}, 2))
    assert (facts.epoch, facts.optimizer) == (4, True)


def test_more_than_a_thousand_keys_and_values_in_batches() -> None:
    many = {f"k{i}": i for i in range(3000)}
    facts = read_facts(pickle.dumps({"epoch": 5, "optimizer": many, "x": list(range(5000))}, 2))
    assert facts == CheckpointFacts(5, True, ("epoch", "optimizer", "x"))
    assert len(read_facts(pickle.dumps(many, 2)).keys) == checkpoint.MAX_KEYS


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.path}",))


def test_nothing_that_is_named_runs(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    evil = b""
    for protocol in range(6):
        evil = pickle.dumps({"epoch": 3, "optimizer": _Evil(trace)}, protocol)
        assert read_facts(evil) == CheckpointFacts(3, True, ("epoch", "optimizer"))
        with pytest.raises(CheckpointUnreadable):
            read_facts(pickle.dumps(_Evil(trace), protocol))
    assert not trace.exists()
    # The same bytes are dangerous for whoever loads them, or the test would show nothing.
    pickle.loads(evil)  # noqa: S301
    assert trace.exists()


def test_what_names_a_module_that_does_not_exist_is_read_all_the_same() -> None:
    data = pickle.dumps({"epoch": 2, "ema": OrderedDict()}, 2)
    foreign = data.replace(b"ccollections\nOrderedDict\n", b"cno.such.module\nThing\n")
    assert foreign != data
    assert read_facts(foreign).epoch == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"no pickle at all",
        b"\x80\x02.",
        b"\x80\x02(.",
        b"\x80\x02h\x05.",  # a memo that was never put
        b"\x80\x02}(K\x01u.",  # a key without a value
        b"\x80\x02K\x01.",
        b"\x80\x02]q\x00.",
        b"\x80\x02}q\x00",  # cut off
        b"\x80\x02(2.",
        b"\x80\x02\x8a\x04\xff",
    ],
)
def test_nonsense_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(CheckpointUnreadable, match=r"^it is"):
        read_facts(data)


def test_bounds_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointUnreadable, match="more than 64 MiB"):
        read_facts(b"0" * ((64 << 20) + 1))
    monkeypatch.setattr(checkpoint, "MAX_OPCODES", 100)
    with pytest.raises(CheckpointUnreadable, match="too many steps"):
        read_facts(pickle.dumps(list(range(200)), 2))


def test_a_bomb_of_references_costs_nothing() -> None:
    # Each list holds the one before twice: 2^200 leaves for whoever would walk them.
    node: list[Any] = []
    for _ in range(200):
        node = [node, node]
    facts = read_facts(pickle.dumps({"epoch": 1, "optimizer": node}, 2))
    assert facts.optimizer is True


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for tail in (b"", b"."):
        try:
            facts = read_facts(data + tail)
        except CheckpointUnreadable:
            continue
        assert facts.epoch is None or type(facts.epoch) is int


@given(st.data())
def test_damaged_checkpoints_are_read_or_refused(data: st.DataObject) -> None:
    good = bytearray(pickle.dumps(SAVED, data.draw(st.sampled_from([0, 2, 4]))))
    for _ in range(data.draw(st.integers(1, 6))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    try:
        facts = read_facts(cut)
    except CheckpointUnreadable:
        return
    assert facts.epoch is None or type(facts.epoch) is int


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        | st.frozensets(st.integers(), max_size=3)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=8), VALUES, VALUES, st.integers(0, 5))
def test_it_agrees_with_the_real_unpickler(
    rest: dict[str, Any], epoch: Any, optimizer: Any, protocol: int
) -> None:
    saved = rest | {"epoch": epoch, "optimizer": optimizer}
    data = pickle.dumps(saved, protocol)
    if data.count(b".") > 1:
        pickletools.dis(data, io.StringIO())  # the writer's bytes are good
    facts = read_facts(data)
    assert facts.keys == tuple(saved)
    assert facts.epoch == (epoch if type(epoch) is int else None)
    assert facts.optimizer is (optimizer is not None)
