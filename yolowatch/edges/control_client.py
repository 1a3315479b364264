"""Asks a running daemon through its control socket; whatever goes wrong is one sentence."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolowatch.edges.statedir import SYSTEM_SOCKETS, service_socket_directory
from yolowatch.errors import RefusedError, ServiceError, UsageError
from yolowatch.model.control import MAX_ANSWER_BYTES, ControlError, encode

SOCKET_NAME = "control.sock"
_READ_BYTES = 1 << 16


def socket_path(environ: Mapping[str, str]) -> Path:
    """The control socket of this user's own daemon where one is there, else of the system's."""
    own = service_socket_directory(environ) / SOCKET_NAME
    return own if own.is_socket() else SYSTEM_SOCKETS / SOCKET_NAME


def ask(
    verb: str, arguments: Mapping[str, Any], path: Path, *, timeout_seconds: float = 130.0
) -> Mapping[str, Any]:
    """The daemon's answer to a request that it took and granted.

    Raises ServiceError where no daemon answers there, RefusedError where it says no, UsageError
    where the arguments make no request.
    """
    try:
        request = encode(verb, arguments)
    except ControlError as error:
        raise UsageError(f"{error}.") from None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_seconds)
            connection.connect(os.fspath(path))
            connection.sendall(request)
            line = _line(connection)
    except TimeoutError:
        raise ServiceError(
            f"The yolowatch daemon at {path} does not answer: it may be stopped or overloaded; "
            "look at its log."
        ) from None
    except OSError as error:
        raise ServiceError(_unreachable(path, error)) from None
    try:
        answer = json.loads(line)
        granted = answer["ok"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ServiceError(
            f"What listens at {path} gives no answer that this version understands: it took no "
            "further request, or is of another version; restart the daemon if that is so."
        ) from None
    if granted is not True:
        raise RefusedError(str(answer.get("error", "the daemon refused without a reason")))
    return dict(answer)


def _line(connection: socket.socket) -> bytes:
    chunks, size = [], 0
    while size <= MAX_ANSWER_BYTES and (chunk := connection.recv(_READ_BYTES)):
        chunks.append(chunk)
        size += len(chunk)
        if chunk.endswith(b"\n"):
            break
    return b"".join(chunks)


def _unreachable(path: Path, error: OSError) -> str:
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return (
            f"No yolowatch daemon listens at {path}: start one with `yolowatch daemon`, or name "
            "its socket with --socket."
        )
    if isinstance(error, PermissionError):
        return (
            f"The control socket {path} may not be used by you ({error.strerror}): it is another "
            "user's daemon; name yours with --socket."
        )
    return (
        f"The control socket {path} cannot be used: {error.strerror or error}; is the path right?"
    )
