"""The control socket: hostile lines in, well-formed requests out, one thread for all connections.

The kernel says who asks; `model.control` says whether a line is a request; nothing here acts on
what it means. One connection asks one thing: a line in, a line out, closed. A peer that stalls,
floods or sends rubbish costs its own connection for a bounded time.
"""

from __future__ import annotations

import grp
import json
import os
import selectors
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolowatch.edges.clock import Clock
from yolowatch.edges.listening import listening_stream
from yolowatch.errors import AddressError
from yolowatch.model.control import (
    MAX_ANSWER_BYTES,
    MAX_REQUEST_BYTES,
    ControlError,
    ControlRequest,
    parse,
)
from yolowatch.model.events import ControlReceived, Post

_PEER_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_SO_PEERGROUPS = 59  # <asm-generic/socket.h>; the module socket has no name for it
_GROUPS_BYTES = 1024  # the most that `getsockopt` of Python reads: 256 groups
_READ_BYTES = 16 * 1024
_BUSY = "yolowatch is busy and did not take the request: try again in a moment."
_LATE = "yolowatch did not answer in time: `yolowatch status` shows what became of it."


@dataclass(frozen=True)
class ControlBounds:
    """What the control socket puts up with; times in seconds."""

    connections: int = 64
    connections_of_one_user: int = 16  # but for root
    line_seconds: float = 5.0  # from the connection to the end of the request's line
    answer_seconds: float = 120.0  # from there to the answer, which may take an attachment
    reading_seconds: float = 5.0  # for the peer to take the answer


@dataclass
class _Peer:
    connection: int
    uid: int
    pid: int
    socket: socket.socket
    deadline: float
    received: bytes = b""
    asked: bool = False
    answer: bytes | None = None
    silent: bool = False  # it has said that it will say no more
    writing: bool = False


class ControlListener:
    """A listening socket at `path`; raises AddressError where it cannot listen there.

    `group` names those who may command everyone's runs; it may be replaced while it serves.
    `refused` counts connections over a bound and lines that were no requests.
    """

    def __init__(
        self,
        path: Path,
        post: Post,
        clock: Clock,
        group: str,
        bounds: ControlBounds = ControlBounds(),
    ) -> None:
        self.path, self.group, self.refused = path, group, 0
        self._post, self._clock, self._bounds = post, clock, bounds
        self._lock = threading.Lock()  # of `_peers` and of their answers
        self._peers: dict[int, _Peer] = {}
        self._last_connection = 0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            self._socket = listening_stream(path, bounds.connections)
        except OSError as error:
            raise AddressError(
                f"The control socket {path} cannot be listened on ({error.strerror or error}): end "
                "the daemon that listens there, or make its directory writable for this one."
            ) from error
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)

    @property
    def connections(self) -> int:
        """How many peers are connected now."""
        return len(self._peers)

    def start(self) -> None:
        """Serve in a thread of its own until `close`."""
        self._thread = threading.Thread(target=self.serve, name="control", daemon=True)
        self._thread.start()

    def serve(self) -> None:
        """Serve in this thread until `close` is called from another."""
        while not self._closing.is_set():
            for key, events in self._selector.select(self._patience()):
                if key.fileobj is self._socket:
                    self._accept()
                elif key.fileobj == self._wake:
                    os.eventfd_read(self._wake)
                    self._take_answers()
                elif events & selectors.EVENT_WRITE:
                    self._write(key.data)
                else:
                    self._read(key.data)
            self._end_late()

    def answer(self, connection: int, body: Mapping[str, Any]) -> None:
        """Answer a request from any thread, never blocking; nothing where the asker has gone."""
        line = json.dumps(body, separators=(",", ":"), default=str).encode() + b"\n"
        if len(line) > MAX_ANSWER_BYTES:
            line = _line({"ok": False, "error": "There is too much to say: ask for one run."})
        with self._lock:
            peer = self._peers.get(connection)
            if peer is None or peer.answer is not None or not peer.asked:
                return
            peer.answer = line
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """End the thread, close every connection, remove the socket; twice is harmless."""
        if self._closing.is_set():
            return
        self._closing.set()
        os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join()
        for peer in list(self._peers.values()):
            self._end(peer)  # from here on there is none to answer
        self._selector.close()
        self._socket.close()
        os.close(self._wake)
        self.path.unlink(missing_ok=True)

    def _patience(self) -> float | None:
        """Seconds until the next peer is late."""
        deadlines = [peer.deadline for peer in self._peers.values()]
        return max(min(deadlines) - self._clock.monotonic(), 0.0) if deadlines else None

    def _accept(self) -> None:
        try:
            accepted, _ = self._socket.accept()
        except OSError:
            self._closing.wait(0.01)  # without descriptors the backlog would be reported at once
            return
        accepted.setblocking(False)
        credentials = accepted.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size
        )
        pid, uid, _ = _PEER_CREDENTIALS.unpack(credentials)
        own = sum(peer.uid == uid for peer in self._peers.values())
        bounds = self._bounds
        if len(self._peers) >= bounds.connections or (
            uid and own >= bounds.connections_of_one_user
        ):
            self.refused += 1
            accepted.close()
            return
        self._last_connection += 1
        deadline = self._clock.monotonic() + bounds.line_seconds
        peer = _Peer(self._last_connection, uid, pid, accepted, deadline)
        with self._lock:
            self._peers[peer.connection] = peer
        self._selector.register(accepted, selectors.EVENT_READ, peer)

    def _read(self, peer: _Peer) -> None:
        try:
            data = peer.socket.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if peer.asked and not data:  # gone, or only done with speaking: the answer will tell
            self._selector.unregister(peer.socket)
            peer.silent = True
            return
        if not data or peer.asked:
            self._end(peer)
            return
        peer.received += data
        line, end, rest = peer.received.partition(b"\n")
        if end and not rest:
            self._ask(peer, line)
        elif end or len(peer.received) > MAX_REQUEST_BYTES:
            self._refuse(peer, "The request is not one line of at most 64 KiB.")

    def _ask(self, peer: _Peer, line: bytes) -> None:
        try:
            verb, arguments = parse(line)
        except ControlError as error:
            self._refuse(peer, f"The request was not understood: {error}.")
            return
        now = self._clock.monotonic()
        with self._lock:
            peer.asked, peer.received = True, b""
        peer.deadline = now + self._bounds.answer_seconds
        in_group = self._in_group(peer.socket)
        request = ControlRequest(peer.connection, peer.uid, peer.pid, in_group, verb, arguments)
        if not self._post(ControlReceived(request, now)):
            self._refuse(peer, _BUSY)

    def _in_group(self, connection: socket.socket) -> bool:
        """Whether the control group is among the peer's groups, as the kernel knows them."""
        try:
            wanted = grp.getgrnam(self.group).gr_gid
            _, _, first = _PEER_CREDENTIALS.unpack(
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
            )
            listed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
        except (KeyError, OSError):  # no such group; or so many that they cannot be read: no member
            return False
        return wanted in (first, *(gid for (gid,) in struct.iter_unpack("I", listed)))

    def _refuse(self, peer: _Peer, sentence: str) -> None:
        self.refused += 1
        peer.answer = _line({"ok": False, "error": sentence})
        self._begin_to_write(peer)

    def _take_answers(self) -> None:
        with self._lock:
            answered = [peer for peer in self._peers.values() if peer.answer is not None]
        for peer in answered:
            self._begin_to_write(peer)

    def _begin_to_write(self, peer: _Peer) -> None:
        if peer.writing:
            return
        register = self._selector.register if peer.silent else self._selector.modify
        register(peer.socket, selectors.EVENT_WRITE, peer)
        peer.asked, peer.silent, peer.writing = True, False, True
        peer.deadline = self._clock.monotonic() + self._bounds.reading_seconds

    def _write(self, peer: _Peer) -> None:
        assert peer.answer is not None, "only an answer makes it write"
        try:
            sent = peer.socket.send(peer.answer, socket.MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._end(peer)
            return
        peer.answer = peer.answer[sent:]
        if not peer.answer:
            self._end(peer)

    def _end_late(self) -> None:
        now = self._clock.monotonic()
        for peer in [each for each in self._peers.values() if each.deadline <= now]:
            if peer.asked and peer.answer is None:
                self._refuse(peer, _LATE)
            else:
                self._end(peer)

    def _end(self, peer: _Peer) -> None:
        if not peer.silent:
            self._selector.unregister(peer.socket)
        with self._lock:
            del self._peers[peer.connection]
        peer.socket.close()


def _line(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode() + b"\n"
