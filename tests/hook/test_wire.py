"""The wire format: what is sent arrives, what is hostile is refused, what is clipped fits."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolowatch.hook import wire

HEADER = b"YW\x01"


def code(kind: str) -> bytes:
    return bytes((wire.KINDS.index(kind),))


def message(kind: str, body: Any) -> bytes:
    return HEADER + code(kind) + json.dumps(body).encode()


# Strategies made from the tables themselves, so that a new field is fuzzed without a word here.
TEXT = st.text() | st.text(alphabet='"\\\n\t\x00\x7fé😀', max_size=3000)


def values(kind: Any) -> st.SearchStrategy[Any]:
    name = type(kind).__name__.lstrip("_")
    if name == "Int":
        return st.integers(kind.low, kind.high)
    if name == "Float":
        return st.floats(kind.low, kind.high)
    if name == "Str":
        return TEXT
    if name == "Bool":
        return st.booleans()
    if name == "Choice":
        return st.sampled_from(wire.PHASES)
    if name == "List":
        return st.lists(values(kind.item), max_size=kind.limit + 2)
    if name == "Record":
        return st.tuples(*(st.none() | values(each) for each in kind.items)).map(list)
    raise AssertionError(f"no strategy for {name}")


def fields_of(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    table = {name: st.none() | values(each) for name, each in wire.FIELDS[kind].items()}
    return st.fixed_dictionaries({}, optional=table)


MESSAGES = st.sampled_from(wire.KINDS).flatmap(lambda k: st.tuples(st.just(k), fields_of(k)))


def largest(kind: Any) -> Any:
    """The value that takes most room: each character of the text is written as two bytes."""
    name = type(kind).__name__.lstrip("_")
    if name == "Int":
        return kind.high
    if name == "Float":
        return min(0.1 + 1e17, kind.high)
    if name == "Str":
        return '"\\' * kind.limit
    if name == "Bool":
        return False
    if name == "Choice":
        return max(wire.PHASES, key=len)
    if name == "List":
        return [largest(kind.item)] * kind.limit
    return [largest(each) for each in kind.items]


@given(MESSAGES)
def test_what_is_sent_arrives_clipped(sent: tuple[str, dict[str, Any]]) -> None:
    kind, fields = sent
    data = wire.encode(kind, fields)
    assert len(data) <= wire.MAX_MESSAGE_BYTES
    received, body = wire.decode(data)
    assert received == kind
    assert body == {
        name: wire.FIELDS[kind][name].clip(value)
        for name, value in fields.items()
        if value is not None
    }
    assert wire.encode(kind, body) == data


@pytest.mark.parametrize("kind", wire.KINDS)
def test_the_largest_message_of_each_kind_fits(kind: str) -> None:
    fields = {name: largest(each) for name, each in wire.FIELDS[kind].items()}
    data = wire.encode(kind, fields)
    assert len(data) <= wire.MAX_MESSAGE_BYTES
    assert set(wire.decode(data)[1]) == set(fields)


def test_unknown_is_absent_and_never_zero() -> None:
    data = wire.encode("sample", {"epoch": None, "allocated_bytes": None, "step": 0})
    assert wire.decode(data) == ("sample", {"step": 0})
    assert wire.decode(message("sample", {"epoch": None})) == ("sample", {})


def test_values_are_clipped_to_their_bounds() -> None:
    data = wire.encode("sample", {"batch": -3, "allocated_bytes": 1 << 80, "steps": 2.9})
    assert wire.decode(data)[1] == {"batch": 0, "allocated_bytes": 1 << 50, "steps": 2}


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_what_is_no_number_is_not_sent(value: float) -> None:
    with pytest.raises(wire.WireError, match="out of bounds"):
        wire.encode("sample", {"seconds": value})


def test_texts_lose_what_a_reader_could_not_store() -> None:
    data = wire.encode("fault", {"where": "a\x00b\x1b[31m", "text": "\ud800é"})
    assert wire.decode(data)[1] == {"where": "a?b?[31m", "text": "?é"}


def test_a_mistake_of_the_caller_is_said() -> None:
    with pytest.raises(wire.WireError, match="no such kind"):
        wire.encode("gossip", {})
    with pytest.raises(wire.WireError, match=r"no such field: bye\.reason"):
        wire.encode("bye", {"reason": "tired"})
    with pytest.raises(wire.WireError, match="no such word"):
        wire.encode("sample", {"phase": "lunch"})


def test_fields_of_a_later_hook_are_left_out() -> None:
    body = {"epoch": 3, "mood": "good", "nested": {"a": [1]}}
    assert wire.decode(message("epoch_end", body)) == ("epoch_end", {"epoch": 3})


def test_another_version_is_refused_visibly() -> None:
    data = bytearray(wire.encode("bye", {}))
    data[2] = 9
    with pytest.raises(wire.VersionError, match="version 9 is not spoken here"):
        wire.decode(bytes(data))
    assert wire.VERSION in wire.ACCEPTED_VERSIONS


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no yolowatch message"),
        (b"YW\x01", "no yolowatch message"),
        (b"GET / HTTP/1.1\r\n\r\n", "no yolowatch message"),
        (HEADER + b"\xff{}", "unknown kind 255"),
        (HEADER + code("bye"), "no JSON"),
        (HEADER + code("bye") + b"{" * 5000, "no JSON"),
        (HEADER + code("bye") + b"[" * 8000, "no JSON"),
        (HEADER + code("bye") + b"\xff\xfe", "no JSON"),
        (HEADER + code("bye") + b"[1]", "no object"),
        (HEADER + code("bye") + b"{}" + b" " * 8192, "too long"),
        (message("bye", {"finished": 1}), "bye.finished: not a truth value"),
        (message("bye", {"epoch": True}), "bye.epoch: not an integer"),
        (message("bye", {"epoch": 1.0}), "bye.epoch: not an integer"),
        (message("bye", {"epoch": -2}), "bye.epoch: out of bounds"),
        (message("sample", {"seconds": math.nan}), "sample.seconds: out of bounds"),
        (message("sample", {"seconds": math.inf}), "sample.seconds: out of bounds"),
        (message("sample", {"seconds": "1"}), "sample.seconds: not a number"),
        (message("sample", {"phase": ["forward"]}), "sample.phase: no such word"),
        (message("run", {"run_dir": "x" * 1025}), "run.run_dir: string too long"),
        (message("run", {"run_dir": "/runs\x00/etc"}), "run.run_dir: not plain text"),
        (message("run", {"run_dir": "\udcff"}), "run.run_dir: not plain text"),
        (message("run", {"run_dir": 7}), "run.run_dir: not a string"),
        (message("hello", {"argv": "yolo"}), "hello.argv: not a list"),
        (message("hello", {"argv": ["a"] * 17}), "hello.argv: list too long"),
        (message("hello", {"argv": [None]}), "hello.argv: not a string"),
        (message("footprints", {"items": [[]]}), "footprints.items: not a record"),
        (message("footprints", {"items": [{}]}), "footprints.items: not a record"),
    ],
)
def test_hostile_messages_are_refused_in_words(data: bytes, reason: str) -> None:
    with pytest.raises(wire.WireError) as refused:
        wire.decode(data)
    assert reason in str(refused.value)


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    for candidate in (data, HEADER + data, HEADER + code("last_words") + data):
        try:
            kind, fields = wire.decode(candidate)
        except wire.WireError:
            continue
        assert set(fields) <= set(wire.FIELDS[kind])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=10) | st.dictionaries(st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=25,
)


@given(st.sampled_from(wire.KINDS), st.data())
def test_any_json_is_decoded_to_what_the_tables_allow_or_refused(
    kind: str, data: st.DataObject
) -> None:
    names = st.sampled_from(sorted(wire.FIELDS[kind]))
    body = data.draw(st.dictionaries(names, JSON, max_size=4))
    try:
        _, fields = wire.decode(message(kind, body))
    except wire.WireError:
        return
    # What came through is good enough to be sent again unchanged.
    assert wire.decode(wire.encode(kind, fields)) == (kind, fields)
