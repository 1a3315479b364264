"""What the service says to systemd, on real sockets, and which socket it takes from it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from yolowatch.edges.clock import SystemClock
from yolowatch.edges.listener import Listener
from yolowatch.edges.service_manager import ServiceManager
from yolowatch.edges.solitude import only_daemon
from yolowatch.errors import AddressError

# Takes the socket 3 as systemd hands it over: for a pid that is known only once it runs.
TAKE = """
import os, socket, sys
from pathlib import Path
from yolowatch.edges.service_manager import ServiceManager
from yolowatch.errors import AddressError
manager = ServiceManager({"LISTEN_PID": str(os.getpid() + int(sys.argv[2])), "LISTEN_FDS": "1",
                          "LISTEN_FDNAMES": "hook"})
try:
    found = manager.handed("hook", Path(sys.argv[1]), socket.SOCK_SEQPACKET)
except AddressError as error:
    sys.exit(f"refused: {error}")
print("nothing" if found is None else found.getsockname())
"""


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def told(inbox: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(inbox.recv(4096).decode())
        except BlockingIOError:
            return found


def test_what_is_told_and_when(inbox: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": inbox.getsockname(), "WATCHDOG_USEC": "3000000", "OTHER": "1"}
    manager = ServiceManager(environment)
    assert environment == {"OTHER": "1"}  # a child speaks for itself
    assert told(inbox) == []
    manager.ready()
    manager.alive(100.0, "runs: 0")
    manager.alive(100.5, "runs: 0")  # too soon for another sign
    manager.alive(101.0, "runs: 1\nWATCHDOG=1")  # what others have a hand in stays in its line
    manager.stopping()
    assert told(inbox) == [
        "READY=1", "STATUS=runs: 0", "WATCHDOG=1", "STATUS=runs: 1 WATCHDOG=1", "WATCHDOG=1",
        "STOPPING=1",
    ]  # fmt: skip


def test_who_was_not_asked_says_nothing(inbox: socket.socket) -> None:
    manager = ServiceManager({})
    manager.ready()
    manager.alive(1.0, "runs: 0")
    other = ServiceManager({"NOTIFY_SOCKET": inbox.getsockname(), "WATCHDOG_USEC": "1",
                            "WATCHDOG_PID": str(os.getpid() + 1)})  # fmt: skip
    other.alive(1.0, "")
    gone = ServiceManager({"NOTIFY_SOCKET": inbox.getsockname() + ".gone"})
    gone.ready()  # a manager that is away harms nobody
    assert told(inbox) == []


def take(
    path: Path, listening: socket.socket | TextIO, another: int = 0
) -> subprocess.CompletedProcess[str]:
    # Whoever starts it makes the socket number 3, as the protocol has it.
    shell = f'exec 3<&{listening.fileno()}; exec "$@"'
    return subprocess.run(
        ["bash", "-c", shell, "-", sys.executable, "-c", TAKE, path, str(another)],
        pass_fds=(listening.fileno(),), capture_output=True, text=True,
    )  # fmt: skip


def test_the_socket_that_is_handed_over_is_the_expected_one(tmp_path: Path) -> None:
    path = tmp_path / "hook.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(path))
        assert "refused" in take(path, listening).stderr  # nobody listens on it
        listening.listen()
        assert take(path, listening).stdout == f"{path}\n"
        assert "is not /elsewhere: make the socket" in take(Path("/elsewhere"), listening).stderr
        assert take(path, listening, another=1).stdout == "nothing\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.bind(str(tmp_path / "stream"))
        stream.listen()
        assert "refused" in take(tmp_path / "stream", stream).stderr
    with open(os.devnull) as nothing:
        assert "and did not" in take(path, nothing).stderr


def test_an_address_that_was_handed_over_outlives_the_listener(tmp_path: Path) -> None:
    path = tmp_path / "hook.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as kept:
        kept.bind(str(path))
        kept.listen()
        for _ in range(2):
            with only_daemon(tmp_path, (path.name,)):
                listener = Listener(
                    path, lambda event: True, uids=None, clock=SystemClock(),
                    handed=socket.socket(fileno=os.dup(kept.fileno())),
                )  # fmt: skip
                listener.start()
                listener.close()
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as hook:
                hook.connect(str(path))  # nobody reads, nobody refuses
                hook.send(b"heard later")
    with only_daemon(tmp_path):
        assert not path.exists()  # what a killed daemon left
    with pytest.raises(AddressError), only_daemon(tmp_path), only_daemon(tmp_path):
        pass
