"""Orders: judged before anything is changed, answered each, and carried out between two batches."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolowatch.hook import orders, wire
from yolowatch.hook.agent import Agent
from yolowatch.hook.guard import faults


def order(**fields: Any) -> bytes:
    return bytes(wire.encode("order", fields))


@pytest.fixture(autouse=True)
def training() -> Iterator[None]:
    """A training that takes one order, and nothing left behind."""
    orders.take("multi_scale", 0.0, 0.5)
    yield
    orders.take_none()


def test_what_is_accepted_waits_for_the_next_batch() -> None:
    answer = orders.received(order(id=7, name="multi_scale", value=0.25), True)
    assert answer == {"id": 7, "accepted": True, "reason": None}
    assert orders.waiting == {"multi_scale": (7, 0.25)}
    ratios: list[float] = []
    assert orders.carry_out({"multi_scale": ratios.append}) == []
    assert (ratios, orders.waiting) == ([0.25], {})


@pytest.mark.parametrize(
    ("fields", "trusted", "reason"),
    [
        ({"name": "multi_scale", "value": 0.25}, False, "neither root nor"),
        ({"name": "rm -rf", "value": 0.25}, True, "no order of that name"),
        ({"value": 0.25}, True, "no order of that name"),
        ({"name": "multi_scale"}, True, "no value"),
        ({"name": "multi_scale", "value": 0.51}, True, "not between 0 and 0.5"),
        ({"name": "multi_scale", "value": -1e9}, True, "not between 0 and 0.5"),
    ],
)
def test_what_is_not_obeyed_is_answered_in_words(
    fields: dict[str, Any], trusted: bool, reason: str
) -> None:
    answer = orders.received(order(id=1, **fields), trusted)
    assert answer is not None
    assert not answer["accepted"]
    assert reason in str(answer["reason"])
    assert orders.waiting == {}
    wire.encode("ack", answer)


def test_without_a_training_or_a_working_hook_nothing_is_obeyed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faults, "armed", False)
    answer = orders.received(order(id=1, name="multi_scale", value=0.1), True)
    assert answer is not None
    assert "switched itself off" in str(answer["reason"])
    monkeypatch.setattr(faults, "armed", True)
    orders.take_none()
    answer = orders.received(order(id=1, name="multi_scale", value=0.1), True)
    assert answer is not None
    assert "no training" in str(answer["reason"])


def test_what_cannot_be_carried_out_is_taken_back() -> None:
    def fails(_ratio: float) -> None:
        raise orders.OrderError("its sizes are fixed")

    orders.received(order(id=3, name="multi_scale", value=0.1), True)
    (answer,) = orders.carry_out({"multi_scale": fails})
    assert (answer["id"], answer["accepted"]) == (3, False)
    assert "its sizes are fixed" in answer["reason"]


@given(st.binary(max_size=200) | st.sampled_from(wire.KINDS).map(lambda k: wire.encode(k, {})))
def test_whatever_else_arrives_is_no_order(data: bytes) -> None:
    assert orders.received(data, True) is None
    assert orders.waiting == {}


@given(st.lists(st.floats(-1, 1), max_size=50))
def test_of_a_flood_one_order_waits(values: list[float]) -> None:
    orders.waiting.clear()
    for number, value in enumerate(values):
        orders.received(order(id=number, name="multi_scale", value=value), True)
    legal = [(n, v) for n, v in enumerate(values) if 0.0 <= v <= 0.5]
    assert orders.waiting == ({"multi_scale": legal[-1]} if legal else {})
    orders.waiting.clear()


# ---------------------------------------------------------------- over a real socket


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Agent, socket.socket]]:
    """An agent that is connected, and the daemon's end of the connection."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening,
    ):
        path = Path(folder) / "s"
        listening.bind(str(path))
        listening.listen()
        monkeypatch.setenv("YOLOWATCH_SOCKET", str(path))
        agent = Agent()
        agent._pid = os.getpid()
        assert agent.tell("bye")
        accepted, _ = listening.accept()
        with accepted:
            yield agent, accepted
        agent._close()


def messages(connection: socket.socket) -> list[tuple[str, dict[str, Any]]]:
    found = []
    while True:
        try:
            found.append(wire.decode(connection.recv(9000, socket.MSG_DONTWAIT)))
        except BlockingIOError:
            return found


def test_a_daemon_of_our_own_user_is_obeyed_and_answered(
    daemon: tuple[Agent, socket.socket],
) -> None:
    agent, connection = daemon
    connection.send(order(id=1, name="multi_scale", value=0.25))
    connection.send(order(id=2, name="elsewhere", value=0.25))
    agent.receive()
    answers = [fields for kind, fields in messages(connection) if kind == "ack"]
    assert [(each["id"], each["accepted"]) for each in answers] == [(1, True), (2, False)]
    assert orders.waiting == {"multi_scale": (1, 0.25)}


@pytest.mark.parametrize(("uid", "trusted"), [(0, True), (4711, True), (4712, False)])
def test_only_root_and_our_own_user_may_give_orders(
    uid: int, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4711)

    class Peer:  # whom the kernel would vouch for: another user cannot be had here
        def getsockopt(self, *_: int) -> bytes:
            return struct.pack("3i", 1, uid, uid)

    assert orders.is_trusted(Peer()) is trusted


def test_a_window_reads_a_few_orders_and_leaves_the_flood_to_its_sender(
    daemon: tuple[Agent, socket.socket],
) -> None:
    agent, connection = daemon
    sent = 0
    connection.setblocking(False)
    try:
        while True:
            connection.send(order(id=sent, name="multi_scale", value=0.25))
            sent += 1
    except BlockingIOError:
        pass
    assert sent > orders.AT_ONCE
    agent.receive()
    answers = [fields for kind, fields in messages(connection) if kind == "ack"]
    assert len(answers) == orders.AT_ONCE


def test_the_end_of_the_daemon_is_no_order(daemon: tuple[Agent, socket.socket]) -> None:
    agent, connection = daemon
    connection.close()
    agent.receive()
    assert agent._socket is None
    agent.receive()
