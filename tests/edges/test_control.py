"""The control socket: who asks is the kernel's word, and no peer costs more than itself."""

from __future__ import annotations

import grp
import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from yolowatch.edges.clock import SystemClock
from yolowatch.edges.control import ControlBounds, ControlListener
from yolowatch.edges.control_client import ask, socket_path
from yolowatch.errors import AddressError, RefusedError, ServiceError, UsageError
from yolowatch.model.control import MAX_ANSWER_BYTES, MAX_REQUEST_BYTES, ControlRequest
from yolowatch.model.events import ControlReceived, Event

PATIENCE = 30.0
ROOT = os.geteuid() == 0
MINE = {0, os.getgid(), *os.getgroups()}
GROUP = next(each.gr_name for each in grp.getgrall() if each.gr_gid not in MINE)
GROUP_GID = grp.getgrnam(GROUP).gr_gid
Answerer = Callable[[ControlRequest], Mapping[str, Any] | None]

# Asks as another user: with what the client needs inside, because that user may read nothing here.
CLIENT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[1])
    s.sendall(b'{"verb":"status"}\\n')
    sys.stdout.write(s.makefile().readline())
"""


class Desk:
    """A listener whose requests are answered by a function, in a thread as the loop's would be."""

    def __init__(self, path: Path, answer: Answerer, bounds: ControlBounds) -> None:
        self.requests: list[ControlRequest] = []
        self._answer = answer
        self._queue: queue.Queue[Event | None] = queue.Queue()
        self.full = False
        self.listener = ControlListener(path, self._post, SystemClock(), GROUP, bounds)
        self.listener.start()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _post(self, event: Event) -> bool:
        if not self.full:
            self._queue.put(event)
        return not self.full

    def _serve(self) -> None:
        while (event := self._queue.get()) is not None:
            assert isinstance(event, ControlReceived)
            self.requests.append(event.request)
            body = self._answer(event.request)
            if body is not None:
                self.listener.answer(event.request.connection, body)

    def close(self) -> None:
        self.listener.close()
        self._queue.put(None)
        self._thread.join()


def echo(request: ControlRequest) -> Mapping[str, Any]:
    return {"ok": True, "verb": request.verb, "arguments": dict(request.arguments)}


OpenDesk = Callable[..., Desk]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may enter."""
    path = Path(tempfile.mkdtemp(prefix="control-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def desk(place: Path) -> Iterator[OpenDesk]:
    desks = []

    def build(answer: Answerer = echo, **bounds: Any) -> Desk:
        desks.append(Desk(place / "control.sock", answer, ControlBounds(**bounds)))
        return desks[-1]

    yield build
    for each in desks:
        each.close()


def talk(desk: Desk, data: bytes, end: bool = False) -> bytes:
    """What comes back for raw bytes, up to the end of the connection."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE)
        peer.connect(str(desk.listener.path))
        try:
            peer.sendall(data)
            if end:
                peer.shutdown(socket.SHUT_WR)
            received = b""
            while chunk := peer.recv(1 << 16):
                received += chunk
        except (BrokenPipeError, ConnectionResetError):
            return b""
        return received


def test_a_request_is_answered(desk: OpenDesk) -> None:
    open_desk = desk()
    answer = ask("pause", {"run": "a1", "other": None}, open_desk.listener.path)
    assert answer == {"ok": True, "verb": "pause", "arguments": {"run": "a1"}}
    (request,) = open_desk.requests
    assert (request.uid, request.pid) == (os.getuid(), os.getpid())
    assert not request.in_group


def test_a_refusal_is_the_daemons_sentence(desk: OpenDesk) -> None:
    open_desk = desk(lambda request: {"ok": False, "error": "No run of yours is called a1."})
    with pytest.raises(RefusedError, match="No run of yours") as raised:
        ask("pause", {"run": "a1"}, open_desk.listener.path)
    assert raised.value.exit_code == 109


def test_a_peer_that_only_half_closes_is_answered_too(desk: OpenDesk) -> None:
    answer = talk(desk(), b'{"verb":"status"}\n', end=True)
    assert json.loads(answer)["verb"] == "status"


def test_a_large_answer_arrives_whole_and_a_larger_one_is_a_sentence(desk: OpenDesk) -> None:
    size = {"status": MAX_ANSWER_BYTES - 100, "pause": MAX_ANSWER_BYTES}
    open_desk = desk(lambda request: {"ok": True, "text": "x" * size[request.verb]})
    assert len(ask("status", {}, open_desk.listener.path)["text"]) == size["status"]
    with pytest.raises(RefusedError, match="too much to say"):
        ask("pause", {}, open_desk.listener.path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\n", "no JSON"),
        (b"\xff\xfe\n", "no JSON"),
        (b'{"verb":"shutdown"}\n', "no such verb"),
        (b'{"verb":"status"}\n{"verb":"status"}\n', "not one line"),
        (b"x" * (MAX_REQUEST_BYTES + 1), "not one line"),
        (b'{"verb":"status"}', None),  # it ends without a line
    ],
)
def test_rubbish_reaches_nobody(desk: OpenDesk, data: bytes, said: str | None) -> None:
    open_desk = desk()
    answer = talk(open_desk, data, end=True)
    assert open_desk.requests == []
    if said is None:
        assert answer == b""
    elif answer:  # with input unread the kernel may take the answer along
        assert said in json.loads(answer)["error"]
    assert ask("status", {}, open_desk.listener.path)["ok"] is True


def test_a_slow_peer_is_cut_and_nobody_waits_for_it(desk: OpenDesk) -> None:
    open_desk = desk(line_seconds=0.05)
    with socket.socket(socket.AF_UNIX) as slow:
        slow.settimeout(PATIENCE)
        slow.connect(str(open_desk.listener.path))
        slow.sendall(b'{"verb":')
        assert ask("status", {}, open_desk.listener.path)["ok"] is True
        assert slow.recv(1) == b""


def test_a_peer_that_takes_no_answer_is_cut(desk: OpenDesk) -> None:
    done = threading.Event()
    answer = {"ok": True, "text": "x" * (MAX_ANSWER_BYTES - 100)}

    def answering(request: ControlRequest) -> Mapping[str, Any]:
        done.set()
        return answer

    open_desk = desk(answering, reading_seconds=0.05)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.settimeout(PATIENCE)
        deaf.connect(str(open_desk.listener.path))
        deaf.sendall(b'{"verb":"status"}\n')
        assert done.wait(PATIENCE)
        # It is told by the end of the connection, which only who reads to there can see; so wait
        # until the listener holds no peer any more.
        while open_desk.listener.connections:
            done.wait(0.01)
        received = 0
        while chunk := deaf.recv(1 << 20):
            received += len(chunk)
    assert received < len(answer["text"])


def test_an_answer_that_never_comes_is_a_sentence(desk: OpenDesk) -> None:
    open_desk = desk(lambda request: None, answer_seconds=0.05)
    with pytest.raises(RefusedError, match="did not answer in time"):
        ask("status", {}, open_desk.listener.path)


def test_a_full_queue_is_a_sentence(desk: OpenDesk) -> None:
    open_desk = desk()
    open_desk.full = True
    with pytest.raises(RefusedError, match="busy"):
        ask("status", {}, open_desk.listener.path)


def test_an_answer_to_who_has_gone_is_nothing(desk: OpenDesk) -> None:
    gone, answered = threading.Event(), threading.Event()

    def late(request: ControlRequest) -> Mapping[str, Any]:
        if request.verb == "pause":
            assert gone.wait(PATIENCE)
            answered.set()
        return {"ok": True}

    open_desk = desk(late)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(open_desk.listener.path))
        peer.sendall(b'{"verb":"pause"}\n')
        while not open_desk.requests:
            gone.wait(0.01)
    gone.set()
    assert answered.wait(PATIENCE)
    assert ask("status", {}, open_desk.listener.path)["ok"] is True
    open_desk.listener.answer(1, {"ok": True})
    open_desk.listener.answer(99, {"ok": True})


def test_connections_are_bounded(desk: OpenDesk) -> None:
    open_desk = desk(connections=2)
    path = str(open_desk.listener.path)
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.connect(path)
        second.connect(path)
        while open_desk.listener.connections < 2:
            pass
        assert talk(open_desk, b'{"verb":"status"}\n') == b""
        assert open_desk.listener.refused == 1
    while open_desk.listener.connections:
        pass
    assert talk(open_desk, b'{"verb":"status"}\n') != b""


def _as(uid: int, groups: str, path: Path) -> dict[str, Any]:
    """The line that a client of another uid gets."""
    options = ["--clear-groups"] if not groups else [f"--groups={groups}"]
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
    done = subprocess.run(
        ["setpriv", f"--reuid={uid}", f"--regid={uid}", *options, python, "-c", CLIENT, str(path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


@pytest.mark.skipif(not ROOT, reason="only root can ask as another user")
def test_uid_and_groups_are_the_kernels_word(desk: OpenDesk) -> None:
    open_desk = desk(lambda request: {"uid": request.uid, "in_group": request.in_group})
    path = open_desk.listener.path
    many = ",".join(str(20000 + i) for i in range(200))
    assert _as(41001, "", path) == {"uid": 41001, "in_group": False}
    assert _as(41001, f"41001,{GROUP_GID}", path) == {"uid": 41001, "in_group": True}
    assert _as(GROUP_GID, "", path)["in_group"] is True  # as its primary group
    assert _as(41001, f"{many},{GROUP_GID}", path)["in_group"] is True
    # So many that they cannot be read: who cannot be known to be a member is none.
    assert _as(41001, f"{many},{many.replace('20', '30')},{GROUP_GID}", path)["in_group"] is False
    open_desk.listener.group = "no-such-group"
    assert _as(41001, f"41001,{GROUP_GID}", path)["in_group"] is False


@pytest.mark.skipif(not ROOT, reason="only root can ask as another user")
def test_one_user_cannot_take_all_connections(desk: OpenDesk, place: Path) -> None:
    hold = CLIENT.replace("s.sendall", "sys.stdout.write(s.recv(9).decode() + 'cut'); exit();")
    open_desk = desk(connections_of_one_user=0)
    client = ["setpriv", "--reuid=41001", "--clear-groups", "/usr/bin/python3", "-c", hold]
    done = subprocess.run(
        [*client, str(open_desk.listener.path)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stdout == "cut"
    assert ask("status", {}, open_desk.listener.path)["ok"] is True


def test_the_socket_is_for_all_where_root_listens_and_else_for_one(desk: OpenDesk) -> None:
    mode = desk().listener.path.stat().st_mode & 0o777
    assert mode == (0o666 if ROOT else 0o600)


def test_a_socket_that_a_killed_daemon_left_is_replaced(desk: OpenDesk, place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place / "control.sock"))
    assert ask("status", {}, desk().listener.path)["ok"] is True


def test_a_second_daemon_does_not_listen(desk: OpenDesk) -> None:
    open_desk = desk()
    with pytest.raises(AddressError, match="end the daemon that listens there"):
        desk()
    assert ask("status", {}, open_desk.listener.path)["ok"] is True


def test_a_file_in_the_way_stays(desk: OpenDesk, place: Path) -> None:
    (place / "control.sock").write_text("mine")
    with pytest.raises(AddressError):
        desk()
    assert (place / "control.sock").read_text() == "mine"


def test_closing_removes_the_socket(desk: OpenDesk) -> None:
    open_desk = desk()
    open_desk.listener.close()
    open_desk.listener.close()
    assert not open_desk.listener.path.exists()


# ---------------------------------------------------------------- the client's own sentences


def test_what_is_no_request_is_not_sent(desk: OpenDesk) -> None:
    open_desk = desk()
    with pytest.raises(UsageError, match="run must be a run's id"):
        ask("pause", {"run": "\x1b[2J"}, open_desk.listener.path)
    assert open_desk.requests == []


def test_without_a_daemon_the_cure_is_named(place: Path) -> None:
    with pytest.raises(ServiceError, match=r"No yolowatch daemon listens at .*`yolowatch daemon`"):
        ask("status", {}, place / "control.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place / "control.sock"))
    with pytest.raises(ServiceError, match="No yolowatch daemon listens") as raised:
        ask("status", {}, place / "control.sock")
    assert raised.value.exit_code == 108


def test_a_path_too_long_is_a_sentence(place: Path) -> None:
    with pytest.raises(ServiceError, match="cannot be used"):
        ask("status", {}, place / ("x" * 200))


@pytest.mark.parametrize("line", [b"", b"{}\n", b"[]\n", b"HTTP/1.1 400\n", b'{"ok":true'])
def test_something_else_that_listens_is_a_sentence(place: Path, line: bytes) -> None:
    path = place / "control.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def speak() -> None:
            accepted, _ = other.accept()
            accepted.recv(1000)
            accepted.sendall(line)
            accepted.close()

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(ServiceError, match="no answer that this version understands"):
            ask("status", {}, path)
        thread.join()


def test_a_daemon_that_says_nothing_is_a_sentence(place: Path) -> None:
    path = place / "control.sock"
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        with pytest.raises(ServiceError, match="does not answer"):
            ask("status", {}, path, timeout_seconds=0.05)


def test_a_users_own_daemon_comes_before_the_systems(place: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(place), "HOME": str(place)}
    assert socket_path(environ) == Path("/run/yolowatch/control.sock")
    if not ROOT:
        (place / "yolowatch").mkdir()
        with socket.socket(socket.AF_UNIX) as own:
            own.bind(str(place / "yolowatch" / "control.sock"))
            assert socket_path(environ) == place / "yolowatch" / "control.sock"
