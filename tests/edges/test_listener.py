"""The hook socket with real sockets and real peers."""

from __future__ import annotations

import fcntl
import os
import queue
import random
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from yolowatch.edges import proc
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.listener import Bounds, Listener
from yolowatch.errors import AddressError
from yolowatch.hook import wire
from yolowatch.model.events import Event, HookConnected, HookGone, HookMessage, HookRefused

MakeListener = Callable[..., Listener]
DEFAULT = Bounds()


class Inbox:
    """A queue as the core's, that can be made to refuse."""

    def __init__(self) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self.full = False

    def post(self, event: Event) -> bool:
        if self.full:
            return False
        self.events.put(event)
        return True

    def next(self, seconds: float = 10) -> Event:
        return self.events.get(timeout=seconds)

    def until_gone(self) -> list[Event]:
        events: list[Event] = []
        while not events or not isinstance(events[-1], HookGone):
            events.append(self.next())
        return events


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def make(tmp_path: Path, inbox: Inbox) -> Iterator[MakeListener]:
    made: list[Listener] = []

    def start(bounds: Bounds = DEFAULT, uids: frozenset[int] | None = None) -> Listener:
        path = Path(os.path.relpath(tmp_path)) / f"s{len(made)}"  # pytest's own paths may be long
        listener = Listener(
            path,
            inbox.post,
            uids=frozenset({os.geteuid()}) if uids is None else uids,
            clock=SystemClock(),
            bounds=bounds,
        )
        listener.start()
        made.append(listener)
        return listener

    yield start
    for each in made:
        each.close()


def connect(listener: Listener) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(10)
    client.connect(str(listener.path))
    return client


def settle(predicate: Callable[[], bool]) -> None:
    clock = SystemClock()
    end = clock.monotonic() + 10
    while not predicate():
        assert clock.monotonic() < end, "did not happen within 10 s"
        clock.sleep(0.005)


def test_it_says_that_it_lives_even_when_nobody_speaks(
    make: MakeListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yolowatch.edges.listener._BEAT_SECONDS", 0.01)
    listener = make()
    beats: list[int] = []
    listener.beat = lambda: beats.append(1)
    connect(listener).close()  # wakes it from the wait that it began before
    settle(lambda: len(beats) > 3)


def test_windows_that_were_read_together_are_one_event_and_none_is_lost(
    make: MakeListener, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yolowatch.edges.listener._SHORT_BREATH_SECONDS", 0.2)
    sent = [*(("sample", {"step": n}) for n in range(11)), ("epoch_end", {"epoch": 0})]
    with connect(make()) as client:
        client.send(wire.encode("hello", {"pid": os.getpid(), "attempt": 0}))
        assert isinstance(inbox.next(), HookConnected)
        assert inbox.next()
        for kind, fields in (*sent, ("sample", {"step": 11})):  # while the thread takes a breath
            client.send(wire.encode(kind, fields))
    heard = [each for each in inbox.until_gone() if isinstance(each, HookMessage)]
    said = [(each.kind, fields) for each in heard for fields in each.told]
    assert said == [*sent, ("sample", {"step": 11})]
    assert len(heard) < 8, "windows were read together"
    assert max(len(each.earlier) for each in heard) < 8


def test_nobody_waits_for_a_breath_where_a_process_has_ended(
    make: MakeListener, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_breaths(monkeypatch)
    listener = make()
    with connect(listener) as client:
        assert isinstance(inbox.next(), HookConnected)  # and now it takes its breath
        client.send(wire.encode("hello", {"pid": os.getpid(), "attempt": 0}))
        listener.hurry()
        message = inbox.next()
        assert isinstance(message, HookMessage)
        assert message.kind == "hello"


def test_nor_does_who_connects(
    make: MakeListener, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_breaths(monkeypatch)
    listener = make()
    with connect(listener):
        assert isinstance(inbox.next(), HookConnected)  # and now it takes its breath
        with connect(listener):
            assert isinstance(inbox.next(), HookConnected)


def long_breaths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yolowatch.edges.listener._BREATH_SECONDS", 3600.0)
    monkeypatch.setattr("yolowatch.edges.listener._YOUNG_SECONDS", 0.0)


def test_messages_arrive_in_order_between_connected_and_gone(
    make: MakeListener, inbox: Inbox
) -> None:
    with connect(make()) as client:
        client.send(wire.encode("hello", {"pid": os.getpid(), "attempt": 0}))
        for step in range(50):
            client.send(wire.encode("sample", {"step": step}))
        client.send(wire.encode("bye", {"finished": True}))
    first, *messages, last = inbox.until_gone()
    own = proc.process_key(os.getpid())
    parent = proc.process_key(os.getppid())
    assert parent is not None
    assert first == HookConnected(own, os.getuid(), 1, parent, proc.parent_pid(parent.pid))
    heard = [each for each in messages if isinstance(each, HookMessage)]
    said = [(each.kind, fields) for each in heard for fields in each.told]
    assert [kind for kind, _ in said] == ["hello", *["sample"] * 50, "bye"]
    assert [fields["step"] for kind, fields in said if kind == "sample"] == list(range(50))
    assert isinstance(last, HookGone)
    assert last.process == first.process


def test_the_kernel_says_who_it_is_not_the_message(make: MakeListener, inbox: Inbox) -> None:
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
        "s.connect(sys.argv[1]); s.send(bytes.fromhex(sys.argv[2])); sys.stdin.read()"
    )
    lie = wire.encode("hello", {"pid": 1, "attempt": 0}).hex()
    listener = make()
    with subprocess.Popen(
        [sys.executable, "-c", program, str(listener.path), lie], stdin=subprocess.PIPE
    ) as peer:
        connected, hello = inbox.next(), inbox.next()
        assert isinstance(connected, HookConnected)
        assert connected.process.pid == peer.pid
        assert isinstance(hello, HookMessage)
        assert hello.process == connected.process
        peer.kill()  # no goodbye: the kernel tells of the death
        assert inbox.next() == HookGone(1, connected.process, pytest.approx(0, abs=1e12))


def test_another_user_is_refused(make: MakeListener, inbox: Inbox) -> None:
    listener = make(uids=frozenset({os.geteuid() + 1}))
    for _ in range(3):
        with connect(listener) as client:
            assert client.recv(10) == b""
    refused = inbox.next()
    assert isinstance(refused, HookRefused)
    assert "not watched here" in refused.reason
    assert refused.pid == os.getpid()
    settle(lambda: listener.refused == 3)
    assert inbox.events.empty(), "the same refusal is told once"


def test_last_words_survive_a_peer_that_left_an_order_unread(
    make: MakeListener, inbox: Inbox
) -> None:
    """The kernel reports a reset before the data that was sent ahead of it."""
    listener = make()
    client = connect(listener)
    inbox.next()
    inbox.full = True  # the listener is busy with this message while the peer goes on and ends
    client.send(wire.encode("hello", {"pid": 1}))
    settle(lambda: _queued(client) == 0)
    assert listener.send(1, wire.encode("order", {"id": 1, "name": "x"}))
    client.send(wire.encode("last_words", {"text": "out of memory"}))
    client.close()
    inbox.full = False
    kinds = [each.kind for each in inbox.until_gone() if isinstance(each, HookMessage)]
    assert kinds == ["hello", "last_words"]


def _queued(client: socket.socket) -> int:
    """Bytes that the peer has not read yet (SIOCOUTQ)."""
    return int(struct.unpack("i", fcntl.ioctl(client, 0x5411, b"\0" * 4))[0])


def test_a_full_queue_drops_samples_but_never_last_words(make: MakeListener, inbox: Inbox) -> None:
    listener = make()
    client = connect(listener)
    inbox.next()
    inbox.full = True
    for _ in range(20):
        client.send(wire.encode("sample", {"step": 1}))
    for _ in range(5):
        client.send(wire.encode("footprints", {"items": []}))
    settle(lambda: listener.dropped == 25)
    important = ("run", "checkpoint", "retry", "last_words", "epoch_end", "fault", "bye")
    for kind in important:
        client.send(wire.encode(kind, {}))
    client.close()
    assert inbox.events.empty()
    inbox.full = False
    kinds = [each.kind for each in inbox.until_gone() if isinstance(each, HookMessage)]
    assert kinds == list(important)


def test_a_message_longer_than_the_bound_is_bad_not_cut(make: MakeListener, inbox: Inbox) -> None:
    listener = make(Bounds(bad_messages=2))
    with connect(listener) as client:
        client.send(b"YW" + bytes((wire.VERSION, 0)) + b" " * wire.MAX_MESSAGE_BYTES + b"{}")
        client.send(wire.encode("hello", {"pid": 5}))
        client.send(b"x" * 100_000)
        client.settimeout(10)
        assert client.recv(1) == b""
    _, hello, refused, _ = inbox.until_gone()
    assert isinstance(hello, HookMessage)
    assert hello.fields == {"pid": 5}
    assert isinstance(refused, HookRefused)
    assert refused.reason.endswith("message too long")


def test_a_newer_version_is_refused_at_once_and_once(make: MakeListener, inbox: Inbox) -> None:
    listener = make()
    for _ in range(3):
        with connect(listener) as client:
            client.send(b"YW" + bytes((99, 0)) + b"{}")
            assert client.recv(1) == b""
    settle(lambda: listener.refused == 3)
    events = [inbox.next() for _ in range(7)]
    refusals = [each for each in events if isinstance(each, HookRefused)]
    assert [each.reason for each in refusals] == ["version 99 is not spoken here"]


def test_connections_are_bounded_and_places_come_back(make: MakeListener, inbox: Inbox) -> None:
    listener = make(Bounds(connections=4))
    clients = [connect(listener) for _ in range(4)]
    settle(lambda: listener.connections == 4)
    with connect(listener) as extra:
        assert extra.recv(1) == b""
    clients.pop().close()
    settle(lambda: listener.connections == 3)
    with connect(listener) as extra:
        extra.send(wire.encode("hello", {"pid": 1}))
        settle(lambda: listener.connections == 4)
    for client in clients:
        client.close()


def test_orders_reach_the_hook_and_never_block(make: MakeListener, inbox: Inbox) -> None:
    listener = make()
    client = connect(listener)
    inbox.next()
    order = wire.encode("order", {"id": 7, "name": "checkpoint"})
    assert listener.send(1, order)
    assert wire.decode(client.recv(9000)) == ("order", {"id": 7, "name": "checkpoint"})
    sent = 0
    while listener.send(1, order):  # a hook that doesn't read
        sent += 1
        assert sent < 100_000
    client.close()
    settle(lambda: listener.connections == 0)
    assert not listener.send(1, order)
    assert not listener.send(99, order)


def test_a_stalled_peer_and_a_flooding_one_do_not_hold_up_another(
    make: MakeListener, inbox: Inbox
) -> None:
    listener = make()
    stalled, flooding, polite = (connect(listener) for _ in range(3))
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            flooding.send(wire.encode("sample", {"step": 1}))

    thread = threading.Thread(target=flood)
    thread.start()
    polite.send(wire.encode("run", {"trainer": "ultralytics"}))
    try:
        event = inbox.next()
        while not (isinstance(event, HookMessage) and event.kind == "run"):
            event = inbox.next()
    finally:
        stop.set()
        thread.join()
    for client in (stalled, flooding, polite):
        client.close()


def test_close_wakes_the_thread_even_while_the_queue_is_full(
    make: MakeListener, inbox: Inbox
) -> None:
    idle = make()
    idle.close()
    assert not idle.path.exists()
    busy = make()
    inbox.full = True
    with connect(busy) as client:
        client.send(wire.encode("bye", {}))
        clock = SystemClock()
        began = clock.monotonic()
        busy.close()
        busy.close()
        assert clock.monotonic() - began < 5


def test_an_address_that_cannot_be_listened_on_is_one_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 120), tmp_path / "missing" / "s"):
        with pytest.raises(AddressError, match="cannot be listened on"):
            Listener(path, lambda _: True, uids=frozenset(), clock=SystemClock())


@pytest.mark.timeout(120)
def test_fuzz_twenty_thousand_messages(make: MakeListener, inbox: Inbox) -> None:
    """Whatever is sent, only events of the tables come out and the next honest hook is heard."""
    listener = make(Bounds(connections=16))
    dice = random.Random(7)
    samples = [wire.encode(kind, {}) for kind in wire.KINDS]
    samples.append(wire.encode("sample", {"epoch": 3, "allocated_bytes": 1 << 40, "phase": "loss"}))
    samples.append(wire.encode("last_words", {"text": "é" * 1000, "frames": ["a"] * 12}))
    consumed: list[Event] = []
    done = threading.Event()

    def consume() -> None:
        while not (done.is_set() and inbox.events.empty()):
            try:
                consumed.append(inbox.next(0.05))
            except queue.Empty:
                continue

    consumer = threading.Thread(target=consume)
    consumer.start()
    client, sent = connect(listener), 0
    while sent < 20_000:
        message = bytearray(dice.choice(samples))
        for _ in range(dice.choice((0, 0, 1, 3, 50))):
            message[dice.randrange(len(message))] = dice.randrange(256)
        if dice.random() < 0.1:
            message = bytearray(dice.randbytes(dice.choice((1, 3, 4, 100, 8192, 8193, 20_000))))
        try:
            client.send(message)
            sent += 1
            if dice.random() < 0.01:
                client.close()
                client = connect(listener)
        except OSError:  # cut: the listener had enough of it
            client.close()
            client = connect(listener)
    client.close()
    settle(lambda: listener.connections == 0)
    with connect(listener) as honest:
        honest.send(wire.encode("hello", {"pid": 4242}))
        settle(
            lambda: any(
                isinstance(each, HookMessage) and each.fields.get("pid") == 4242
                for each in list(consumed)
            )
        )
    settle(lambda: listener.connections == 0)
    done.set()
    consumer.join()
    opened = [each.connection for each in consumed if isinstance(each, HookConnected)]
    gone = [each.connection for each in consumed if isinstance(each, HookGone)]
    assert opened == sorted(opened)
    assert sorted(gone) == opened
    for each in consumed:
        if isinstance(each, HookMessage):
            assert all(set(fields) <= set(wire.FIELDS[each.kind]) for fields in each.told)
