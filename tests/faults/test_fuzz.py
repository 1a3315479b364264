"""A flood of hostile messages: the supervisor stays up, keeps little, and believes the kernel only.

The flood comes from several real processes through the real socket of a real `yolowatch run`, whose
memory is measured meanwhile. 50,000 messages each time, a million with `make faults`.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.door import Door, until
from tests.daemon.scenes import Scene, process
from tests.faults import messages
from yolowatch.daemon.attempt import MOST_CONNECTIONS
from yolowatch.edges import proc
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.listener import Listener
from yolowatch.hook import wire
from yolowatch.model import events, fold
from yolowatch.model.run import RunState

pytestmark = pytest.mark.faults

FLOOD = Path(__file__).with_name("programs") / "flood.py"
MOST_BYTES = 100 << 20
GROWTH_BYTES = 16 << 20  # in the second half of the flood, beyond the most of the first


@pytest.fixture
def door(tmp_path: Path) -> Door:
    home = tmp_path / "home"
    home.mkdir()
    return Door(home)


@pytest.mark.parametrize(
    ("count", "seed"),
    [
        pytest.param(50_000, 1, marks=pytest.mark.slice),
        pytest.param(1_000_000, 2, marks=pytest.mark.timeout(1800)),
    ],
)
def test_a_flood_costs_little_and_ends_nothing(
    door: Door,
    tmp_path: Path,
    count: int,
    seed: int,
    record_property: Callable[[str, object], None],
) -> None:
    report, run_dir = tmp_path / "report.json", tmp_path / "run"
    run_dir.mkdir()
    policy = tmp_path / "policy.yaml"
    policy.write_text("exit_grace_seconds: 3600\n")  # what it says of its failure is not true
    flood = (sys.executable, FLOOD, count, 4, seed, report, run_dir)
    log = (tmp_path / "log").open("w")
    with log:
        running = door.start("run", "--policy", policy, "--", *flood, stderr=log, stdout=log)
        try:
            assert running.wait(1700) == 0, (tmp_path / "log").read_text()[-3000:]
        finally:  # the flood ends with the socket that it writes to
            running.kill()
    told = json.loads(report.read_text())
    print(json.dumps(told))
    for name, value in told.items():
        record_property(name, value)
    assert told["messages"] == count
    assert told["connections"] > 100, "those that sent rubbish were cut"
    assert told["resident_most_bytes"] < MOST_BYTES
    assert told["resident_most_bytes"] < told["resident_half_bytes"] + GROWTH_BYTES
    run = door.last_run()
    assert run.status == 0, "it ended as its command did, whatever the flood said of itself"
    assert run.ended is not None
    assert door.journal.stat().st_size < MOST_BYTES
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.slice
def test_what_is_kept_of_a_flood_is_bounded(tmp_path: Path) -> None:
    """Whatever grows with messages or with connections has a limit, in each of its parts."""
    scene = Scene(tmp_path)
    scene.start()
    rng = random.Random(3)
    for number in range(2, 400):
        connection = number if number % 3 else 1
        if number % 3:
            scene.step(events.HookConnected(process(1000 + number), 0, connection))
        for _ in range(30):
            try:
                kind, fields = wire.decode(messages.valid(rng, wire, "/runs/train"))
            except wire.WireError:
                continue
            if kind != "last_words":
                scene.tell(kind, connection, **fields)
        if number % 2:
            scene.gone(connection)
    attempt = scene.core._attempts[-1]
    assert len(attempt.states) == len(attempt.processes) == len(attempt.parents)
    assert 2 <= len(attempt.states) <= MOST_CONNECTIONS
    for state in attempt.states.values():
        assert len(state.samples) <= fold.MAX_SAMPLES
        assert len(state.footprints) <= fold.MAX_FOOTPRINTS
        assert len(state.acks) <= fold.MAX_ACKS
        assert len(state.retries) <= 16
    assert scene.core.verdicts == []
    assert scene.core.healing.receipts == []


@pytest.mark.slice
def test_a_process_is_who_the_kernel_says_whatever_it_says(tmp_path: Path) -> None:
    heard: queue.Queue[events.Event] = queue.Queue()
    path = Path(os.path.relpath(tmp_path)) / "s"
    uids = frozenset({os.geteuid()})
    listener = Listener(path, lambda e: heard.put(e) is None, uids=uids, clock=SystemClock())
    listener.start()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as forger:
            forger.connect(os.fspath(path))
            forger.send(wire.encode("hello", {"pid": 1, "rank": 0, "world_size": 1}))
            connected, hello = heard.get(timeout=10), heard.get(timeout=10)
    finally:
        listener.close()
    assert isinstance(connected, events.HookConnected)
    assert isinstance(hello, events.HookMessage)
    assert hello.fields["pid"] == 1, "it may say so"
    assert connected.process == hello.process == proc.process_key(os.getpid())


@pytest.mark.slice
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_process_is_not_listened_to() -> None:
    heard: queue.Queue[events.Event] = queue.Queue()
    # Nothing but the listener's own rule is to stand in its way: pytest's directories are private.
    place = tempfile.TemporaryDirectory(prefix="yw-")
    os.chmod(place.name, 0o755)  # noqa: S103
    path = Path(place.name) / "s"
    uids = frozenset({0})
    listener = Listener(path, lambda e: heard.put(e) is None, uids=uids, clock=SystemClock())
    listener.start()
    os.chmod(path, 0o666)  # noqa: S103
    stranger = (
        "import os, socket, sys\n"
        "connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "connection.connect(sys.argv[1])\n"
        "os.setuid(65534)\n"
        "other = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "other.connect(sys.argv[1])\n"
        "connection.send(b'x' * 10)\n"
        "print(len(other.recv(10)))\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", stranger, path], capture_output=True, text=True, timeout=30
        )
        until(lambda: listener.refused == 1)
    finally:
        listener.close()
        place.cleanup()
    assert (done.stdout, done.stderr) == ("0\n", "")
    told = [heard.get_nowait() for _ in range(heard.qsize())]
    (refused,) = (each for each in told if isinstance(each, events.HookRefused))
    assert "uid 65534" in refused.reason
    assert sum(isinstance(each, events.HookConnected) for each in told) == 1, "that of root"


@pytest.mark.slice
@pytest.mark.skipif(platform.machine() != "x86_64", reason="atheris is packaged for x86-64 alone")
def test_guided_by_coverage_nothing_but_wire_errors_come_out(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    rng = random.Random(5)
    for number in range(200):
        (corpus / str(number)).write_bytes(messages.valid(rng, wire, "/runs/train"))
    program = Path(__file__).with_name("programs") / "guided.py"
    done = subprocess.run(
        [sys.executable, program, corpus, "-runs=200000", "-seed=1", "-max_len=8300"],
        cwd=tmp_path, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done 200000 runs" in done.stderr


@pytest.mark.slice
def test_valid_messages_fold_into_a_state_of_their_types() -> None:
    """The corpus that the floods are made of reaches every kind, and is accepted."""
    rng, state, kinds = random.Random(9), RunState(0), set()
    for _ in range(2000):
        kind, fields = wire.decode(messages.valid(rng, wire, "/runs/train"))
        state = fold.fold(state, kind, fields, 1.0)
        kinds.add(kind)
    assert kinds == set(wire.KINDS)
    assert state.messages == 2000
