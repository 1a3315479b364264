"""What helper and worker say to each other: JSON objects, each after its length, on one socket.

Both ends are of one installation; the bound is what an environment may take, and more is a mistake.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from typing import Any

_LENGTH = struct.Struct("!I")
MAX_BYTES = 24 * 1024**2


class Channel:
    """One end; `send` may be called from any thread, `receive` from one."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Raises OSError where the other end is gone."""
        text = json.dumps(message).encode()
        with self._lock:
            self._socket.sendall(_LENGTH.pack(len(text)) + text)

    def receive(self) -> dict[str, Any] | None:
        """The next message; None at the end, also where it is no message."""
        try:
            head = self._exactly(_LENGTH.size)
            size = _LENGTH.unpack(head)[0] if head is not None else MAX_BYTES + 1
            text = self._exactly(size) if size <= MAX_BYTES else None
            message = json.loads(text) if text is not None else None
        except (OSError, ValueError, RecursionError):
            return None
        return message if type(message) is dict else None

    def close(self) -> None:
        """The other end's `receive` ends; so does one that waits here."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other end was first

    def _exactly(self, size: int) -> bytes | None:
        chunks = []
        while size > 0:
            chunk = self._socket.recv(min(size, 1 << 20))
            if not chunk:
                return None
            chunks.append(chunk)
            size -= len(chunk)
        return b"".join(chunks)
