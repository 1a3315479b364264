"""The requests of the control socket: what is understood, and that rubbish is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolowatch.model.control import MAX_REQUEST_BYTES, VERBS, ControlError, encode, parse

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("status", {}),
    ("status", {"run": "a1"}),
    ("attach", {"pid": 4321}),
    ("detach", {"pid": 1}),
    ("approve", {"run": "a1b2"}),
    ("approve", {"run": "a1b2", "plan": "p1"}),
    ("pause", {}),
    ("resume", {"run": "a1"}),
    ("rollback", {"run": "a1"}),
]


@pytest.mark.parametrize(("verb", "arguments"), GOOD)
def test_what_is_encoded_is_parsed(verb: str, arguments: dict[str, Any]) -> None:
    assert parse(encode(verb, {**arguments, **dict.fromkeys(VERBS[verb]), **arguments})) == (
        verb,
        arguments,
    )


def test_every_verb_is_tried() -> None:
    assert {verb for verb, _ in GOOD} == set(VERBS)


def test_arguments_may_be_left_out() -> None:
    assert parse(b'{"verb":"status"}') == ("status", {})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no JSON"),
        (b"\xff\xff", "no JSON"),
        (b"[" * 30000, "no JSON"),
        (b"[]", "no object"),
        (b'{"verb":"status","uid":0}', "no object of a verb"),
        (b'{"verb":["status"]}', "no such verb"),
        (b'{"verb":"shutdown"}', "no such verb; there are: status, attach"),
        (b'{"verb":"status","arguments":[]}', "status takes only: run"),
        (b'{"verb":"status","arguments":{"pid":1}}', "status takes only: run"),
        (b'{"verb":"attach"}', "attach: pid must be a process's number"),
        (b'{"verb":"attach","arguments":{"pid":true}}', "pid must be"),
        (b'{"verb":"attach","arguments":{"pid":-1}}', "pid must be"),
        (b'{"verb":"attach","arguments":{"pid":1e3}}', "pid must be"),
        (b'{"verb":"approve","arguments":{"run":null}}', "run must be a run's id"),
        (b'{"verb":"approve","arguments":{"run":""}}', "run must be"),
        (b'{"verb":"pause","arguments":{"run":null}}', "run must be"),
        (json.dumps({"verb": "pause", "arguments": {"run": "\x1b[2J"}}).encode(), "run must be"),
        (json.dumps({"verb": "pause", "arguments": {"run": "a" * 65}}).encode(), "run must be"),
        (b'{"verb":"status"}' + b" " * MAX_REQUEST_BYTES, "too long"),
    ],
)
def test_rubbish_is_refused_in_a_few_words(body: bytes, reason: str) -> None:
    with pytest.raises(ControlError, match=r"^[^\n]{1,200}$") as raised:
        parse(body)
    assert reason in str(raised.value)


def test_what_does_not_fit_is_not_encoded() -> None:
    with pytest.raises(ControlError):
        encode("attach", {"pid": None})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.binary(max_size=300)
    | st.fixed_dictionaries(
        {"verb": st.sampled_from([*VERBS, "x"]) | _JSON},
        optional={
            "arguments": st.dictionaries(st.sampled_from(["run", "pid", "plan"]), _JSON) | _JSON
        },
    ).map(lambda body: json.dumps(body).encode())
)
def test_any_bytes_are_a_request_of_the_table_or_refused(data: bytes) -> None:
    try:
        verb, arguments = parse(data)
    except ControlError:
        return
    table = VERBS[verb]
    assert set(arguments) <= set(table)
    assert all(table[name].fits(value) for name, value in arguments.items())
    assert all(name in arguments for name, each in table.items() if each.required)
