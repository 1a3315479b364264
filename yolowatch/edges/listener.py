"""The hook socket: hostile bytes in, frozen events out, one thread for all connections.

The kernel says who the peer is; `hook.wire` says whether a message is well formed; nothing here
acts on what it means. A peer that floods, stalls or sends rubbish costs its own connection only.
What happens when the queue is full stands in `turn`.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolowatch.edges import proc
from yolowatch.edges.clock import Clock
from yolowatch.edges.turn import Turn
from yolowatch.errors import AddressError
from yolowatch.hook import wire
from yolowatch.model.actions import Order
from yolowatch.model.events import HookConnected, HookGone, HookRefused, Post
from yolowatch.model.identity import ProcessKey

_PEER_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_TRUNCATED = int(socket.MSG_TRUNC)  # the flag itself is an enum, whose `&` takes longer than a call
# So that one flooding peer cannot starve the others, nor those who connect those who are connected.
_MESSAGES_PER_TURN, _CONNECTIONS_PER_TURN = 64, 64
_RETRY_SECONDS = 0.01
# Between two turns: waking this thread and the one behind the queue costs more than a message does,
# and no peer gets more than its messages of a turn read in it. What a process said before its end
# stays in the kernel's queue meanwhile, and `hurry` has it read at once. Who connects is let in at
# once, too: how a process was started can be read only while it lives.
_BREATH_SECONDS = 1.0
# Shorter after a turn in which one peer had this many messages, before the kernel's queue is full,
# and while a training is young: who it is must be seen before it fails, and orders must be quick.
_MANY, _SHORT_BREATH_SECONDS = 32, 0.02
_YOUNG_SECONDS = 30.0
_REMEMBERED_REFUSALS = 1024
_BEAT_SECONDS = 5.0
_encode: Callable[[str, Mapping[str, Any]], bytes] = wire.encode
_decode: Callable[[bytes], tuple[str, Mapping[str, Any]]] = wire.decode


@dataclass(frozen=True)
class Bounds:
    """What one listener puts up with."""

    connections: int = 256
    bad_messages: int = 8  # of one connection, before it is cut


@dataclass
class _Peer:
    connection: int
    process: ProcessKey
    socket: socket.socket
    bad_messages: int = 0


class Listener:
    """A listening socket at `path`, open to processes of `uids` only; None is everybody's.

    `handed` is one that listens there already and outlives this listener: a service manager's.
    Raises AddressError where it cannot listen there. `refused` counts connections that were not
    accepted or were cut.
    """

    def __init__(
        self,
        path: Path,
        post: Post,
        *,
        uids: frozenset[int] | None,
        clock: Clock,
        bounds: Bounds = Bounds(),
        handed: socket.socket | None = None,
    ) -> None:
        self.path = path
        self._is_ours = handed is None  # else its address stays when this listener goes
        self.beat: Callable[[], None] = lambda: None  # called by the thread every few seconds
        self.refused = 0
        self._uids, self._clock, self._bounds = uids, clock, bounds
        self._lock = threading.Lock()  # for what one thread uses and another closes
        self._peers: dict[int, _Peer] = {}
        self._last_connection, self._hurried_until = 0, float("-inf")
        self._told: set[tuple[int | None, str]] = set()
        self._closing = threading.Event()
        self._turn = Turn(post, self._closing)
        self._thread: threading.Thread | None = None
        mode = 0o666 if uids is None else 0o600
        self._socket = handed or _listening_socket(path, bounds.connections, mode)
        self._socket.setblocking(False)  # all who wait are accepted, until nobody waits
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector, self._doors = selectors.DefaultSelector(), selectors.DefaultSelector()
        for selector in (self._selector, self._doors):  # what is heard in a turn, and what ends one
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)

    @property
    def dropped(self) -> int:
        """How many messages were lost to a full queue."""
        return self._turn.dropped

    @property
    def connections(self) -> int:
        """How many hooks are connected now."""
        return len(self._peers)

    def start(self) -> None:
        """Serve in a thread of its own until `close`."""
        self._thread = threading.Thread(target=self.serve, name="listener", daemon=True)
        self._thread.start()

    def serve(self) -> None:
        """Serve in this thread until `close` is called from another."""
        while not self._closing.is_set():
            most = 0
            for key, _ in self._selector.select(_BEAT_SECONDS):
                if key.fileobj is self._socket:
                    self._accept_waiting()
                elif key.fileobj == self._wake:
                    os.eventfd_read(self._wake)
                else:
                    most = max(most, self._read(key.data))
            self._turn.hand_on()
            self.beat()
            if most >= _MANY or self._clock.monotonic() < self._hurried_until:
                self._closing.wait(_SHORT_BREATH_SECONDS)  # whoever knocks, so often at most
            else:
                self._doors.select(_BREATH_SECONDS)

    def hurry(self) -> None:
        """Read now what was sent: a process has ended, and its last words say why."""
        with self._lock:
            if not self._closing.is_set():
                os.eventfd_write(self._wake, 1)

    def send(self, connection: int, message: bytes) -> bool:
        """Hand an order to a hook from any thread, never blocking.

        False where the connection is gone or its buffer is full.
        """
        with self._lock:
            peer = self._peers.get(connection)
            if peer is None:
                return False
            try:
                peer.socket.send(message, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
            except OSError:
                return False
            return True

    def order(self, order: Order) -> bool:
        """Hand this order on; what does not arrive is not acknowledged, as the core will see."""
        fields = {"id": order.number, "name": order.name, "value": order.value}
        return self.send(order.connection, _encode("order", fields))

    def close(self) -> None:
        """End the thread, close every connection, remove the socket; doing it twice is harmless."""
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
            os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            for peer in self._peers.values():
                peer.socket.close()
            self._peers.clear()
        self._selector.close()
        self._doors.close()
        self._socket.close()
        os.close(self._wake)
        if self._is_ours:
            self.path.unlink(missing_ok=True)

    def _accept_waiting(self) -> None:
        for _ in range(_CONNECTIONS_PER_TURN):
            if not self._accept():
                return

    def _accept(self) -> bool:
        """Take one connection, if one waits; whether there may be more."""
        try:
            accepted, _ = self._socket.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                # The connection stays in the backlog, so the selector would report it at once.
                self._closing.wait(_RETRY_SECONDS)
            return False
        accepted.setblocking(False)
        credentials = accepted.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size
        )
        pid, uid, _ = _PEER_CREDENTIALS.unpack(credentials)
        process = proc.process_key(pid) if pid > 0 else None
        reason = None
        if self._uids is not None and uid not in self._uids:
            reason = f"a process of uid {uid} connected, which is not watched here"
        elif process is None:
            reason = "a process connected that cannot be identified: it ended, or /proc hides it"
        elif len(self._peers) >= self._bounds.connections:
            reason = f"more than {self._bounds.connections} connections at once"
        if reason is not None or process is None:
            accepted.close()
            self._refuse(reason or "", pid if pid > 0 else None)
            return True
        self._last_connection += 1
        self._hurried_until = self._clock.monotonic() + _YOUNG_SECONDS
        peer = _Peer(self._last_connection, process, accepted)
        with self._lock:
            self._peers[peer.connection] = peer
        self._selector.register(accepted, selectors.EVENT_READ, peer)
        parent_pid = proc.parent_pid(pid)
        parent = proc.process_key(parent_pid) if parent_pid else None
        above = proc.parent_pid(parent.pid) if parent is not None else None
        self._turn.hear(HookConnected(process, uid, peer.connection, parent, above))
        return True

    def _read(self, peer: _Peer) -> int:
        """Take what it has sent; how many messages that were."""
        for count in range(_MESSAGES_PER_TURN):
            try:
                data, _, flags, _ = peer.socket.recvmsg(wire.MAX_MESSAGE_BYTES + 1)
            except (BlockingIOError, InterruptedError):
                return count
            except ConnectionResetError:
                # The peer ended with an order unread. The kernel says so before it hands out what
                # the peer had sent, and those may be its last words: read on, the end comes after.
                continue
            except OSError:
                self._disconnect(peer)
                return count
            if not data:
                self._disconnect(peer)
                return count
            if not self._take(peer, data, bool(flags & _TRUNCATED)):
                self._disconnect(peer)
                return count
        return _MESSAGES_PER_TURN

    def _take(self, peer: _Peer, data: bytes, truncated: bool) -> bool:
        """Post one message; False where the connection is to be cut."""
        try:
            if truncated:
                raise wire.WireError("message too long")
            kind, fields = _decode(data)
        except wire.VersionError as error:
            # Nothing that follows will be readable either.
            self._refuse(str(error), peer.process.pid)
            return False
        except wire.WireError as error:
            peer.bad_messages += 1
            if peer.bad_messages < self._bounds.bad_messages:
                return True
            self._refuse(f"{peer.bad_messages} bad messages, the last: {error}", peer.process.pid)
            return False
        at = self._clock.monotonic()
        self._turn.told(peer.connection, peer.process, kind, fields, at)
        return True

    def _disconnect(self, peer: _Peer) -> None:
        self._selector.unregister(peer.socket)
        with self._lock:
            del self._peers[peer.connection]
            peer.socket.close()
        self._turn.hear(HookGone(peer.connection, peer.process, self._clock.monotonic()))

    def _refuse(self, reason: str, pid: int | None) -> None:
        """Report a refusal, the same one of the same process only once; all are counted."""
        self.refused += 1
        if (pid, reason) in self._told:
            return
        if len(self._told) >= _REMEMBERED_REFUSALS:
            self._told.clear()
        self._told.add((pid, reason))
        self._turn.hear(HookRefused(reason, pid, self._clock.monotonic()))


def _listening_socket(path: Path, backlog: int, mode: int) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listening.bind(os.fspath(path))
        os.chmod(path, mode)
        listening.listen(backlog)
    except OSError as error:
        listening.close()
        raise AddressError(
            f"The hook socket {path} cannot be listened on ({error.strerror or error}): "
            "set TMPDIR to a local directory with a short path that you may write to."
        ) from error
    return listening
