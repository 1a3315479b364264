"""Unix sockets to listen on: one that a killed daemon left behind stands in nobody's way."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from yolowatch.edges.statedir import SYSTEM_SOCKETS


def is_for_all(path: Path) -> bool:
    """Whether users of every uid may connect: a service tells them apart by their credentials."""
    return os.geteuid() == 0 or path.parent == SYSTEM_SOCKETS


def listening_stream(path: Path, backlog: int) -> socket.socket:
    """A listening, non-blocking stream socket, of mode 0666 or 0600; raises OSError."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if is_left_over(path):
            path.unlink(missing_ok=True)
        listening.bind(os.fspath(path))
        os.chmod(path, 0o666 if is_for_all(path) else 0o600)
        listening.listen(backlog)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def is_left_over(path: Path, kind: int = socket.SOCK_STREAM) -> bool:
    """Whether a socket of this kind is there on which nobody listens."""
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return path.is_socket()
        except OSError:
            return False
        return False
