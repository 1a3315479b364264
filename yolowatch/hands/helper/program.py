"""`yolowatch-helper`: the socket of the helper, its journal and its threads.

Only the core's user may connect, as the kernel says; each message is read by `protocol` before
anything else sees it. A core that floods or sends rubbish costs its own connection.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import signal
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import Any

from yolowatch.edges import terminal
from yolowatch.edges.captures import CaptureStore
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.stage import stage
from yolowatch.errors import AddressError, UsageError, YolowatchError
from yolowatch.hands.helper import protocol
from yolowatch.hands.helper.bounds import Refused
from yolowatch.hands.helper.registry import Registry, Rules
from yolowatch.hands.helper.workers import Staged
from yolowatch.model.identity import ProcessKey
from yolowatch.model.printable import printable

_CREDENTIALS = struct.Struct("3i")
_MAX_CONNECTIONS = 4
_BACKLOG = 64
_MAX_BAD = 8  # of one connection, before it is cut
_FIRST_DESCRIPTOR = 3  # of those that systemd hands over


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    options = _parser().parse_args(arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        helper = Helper(options)
    except YolowatchError as error:
        terminal.tell(f"yolowatch-helper: {error}")
        return error.exit_code
    threading.Thread(target=helper.accept, name="accept", daemon=True).start()
    signal.sigwait((signal.SIGTERM, signal.SIGINT))
    helper.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="yolowatch-helper",
        description="The part of the yolowatch service that needs root: it starts trainings again "
        "as their own users, and touches their files with their users' rights.",
    )
    parser.add_argument("--socket", type=Path, help="to listen on, where systemd gives none")
    parser.add_argument("--core-user", required=True, help="name or uid of the service's user")
    parser.add_argument("--state-dir", type=Path, required=True, help="private, emptied by a boot")
    parser.add_argument("--stage-dir", type=Path, required=True, help="where the hook is staged")
    parser.add_argument("--hook-socket", type=Path, required=True, help="of the service")
    parser.add_argument(
        "--starter", type=Path, help="socket behind which systemd starts what starts a training"
    )
    parser.add_argument("--first-uid", type=int, default=1000, help="users below are the system's")
    parser.add_argument(
        "--also-uid", type=int, action="append", default=[], help="one of them that may train"
    )
    return parser


class Helper:
    """The listening socket and the registry behind it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._rules = Rules(_uid(options.core_user), options.first_uid, frozenset(options.also_uid))
        options.stage_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        hook = stage(options.stage_dir, shared=True).path
        staged = Staged(hook, options.hook_socket, options.starter)
        store = CaptureStore(options.state_dir)
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []
        self.registry = Registry(self._rules, store, staged, SystemClock(), self._tell)
        self._listening = _listening(options.socket, self._rules.core_uid)

    def accept(self) -> None:
        """Take connections; the body of a thread."""
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return  # closed
            pid, uid, _ = _CREDENTIALS.unpack(
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
            with self._lock:
                crowded = len(self._connections) >= _MAX_CONNECTIONS
            if uid != self._rules.core_uid or crowded:
                reason = "too many connections" if crowded else "not the service's user"
                log("refused a connection", pid=pid, uid=uid, why=reason)
                connection.close()
                continue
            served = _Connection(connection, self)
            with self._lock:
                self._connections.append(served)
            threading.Thread(target=served.serve, name=f"core-{pid}", daemon=True).start()

    def gone(self, connection: _Connection) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._connections.remove(connection)

    def close(self) -> None:
        self._listening.close()
        self.registry.close()

    def _tell(self, run: str, event: Any) -> None:
        with self._lock:
            connections = tuple(self._connections)
        for connection in connections:
            connection.send({"run": run, "event": event})


class _Connection:
    """One core; `send` may be called from any thread."""

    def __init__(self, connection: socket.socket, helper: Helper) -> None:
        self._socket, self._helper = connection, helper
        self._lock = threading.Lock()
        self._bad = 0

    def serve(self) -> None:
        """Read requests until the end; the body of a thread."""
        try:
            while self._bad < _MAX_BAD:
                data = self._socket.recv(protocol.MAX_BYTES + 1)
                if not data:
                    return
                self._take(data)
            log("cut a connection", why="too many messages that are none")
        except OSError as error:
            log("lost a connection", why=str(error))
        finally:
            self._helper.gone(self)
            self._socket.close()

    def send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message, separators=(",", ":")).encode()
        if len(data) > protocol.MAX_ANSWER_BYTES:
            short = {name: message[name] for name in ("id", "run") if name in message}
            data = json.dumps({**short, "refused": "the answer is too long"}).encode()
        with self._lock, contextlib.suppress(OSError):  # a core that has gone hears nothing
            self._socket.send(data)

    def _take(self, data: bytes) -> None:
        try:
            request = protocol.decode(data)
        except Refused as refused:
            self._bad += 1
            log("refused a message", why=str(refused))
            self.send({"refused": str(refused)})
            return
        try:
            self._carry_out(request)
        except (Refused, YolowatchError, OSError) as error:
            self._reply(request, {"refused": str(error)})

    def _carry_out(self, request: protocol.Request) -> None:
        registry = self._helper.registry
        if request.verb == "capture":
            process = ProcessKey(**request.fields["process"])
            self._reply(request, {"result": registry.capture(request.run, process)})
        elif request.verb == "forget":
            registry.forget(request.run)
            self._reply(request, {"result": {}})
        else:
            registry.ask(request, lambda answer: self._reply(request, answer))

    def _reply(self, request: protocol.Request, answer: dict[str, Any]) -> None:
        result = answer.get("result")
        failed = result.get("failed") if type(result) is dict else None
        said = answer.get("refused") or failed or "done"
        subject = request.fields.get("step") or request.fields.get("checkpoint")
        log(request.verb, run=request.run, subject=subject, said=said)
        self.send({"id": request.id, **answer})


def log(what: str, **details: object) -> None:
    """One line for the journal; what others chose is made harmless, secrets are never among it."""
    words = [f"{name}={printable(str(each), 300)}" for name, each in details.items() if each]
    terminal.tell(f"yolowatch-helper: {' '.join([what, *words])}")


def _uid(name: str) -> int:
    if name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UsageError(f"There is no user {name} here: name another with --core-user.") from None


def _listening(path: Path | None, core_uid: int) -> socket.socket:
    """systemd's socket, or one at `path` that only the core's user can connect to."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=_FIRST_DESCRIPTOR)
    if path is None:
        raise AddressError("The helper has no socket: give --socket, or start it by its socket.")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        mask = os.umask(0o177)
        try:
            listening.bind(os.fspath(path))
        finally:
            os.umask(mask)
        os.chown(path, core_uid, -1)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise AddressError(f"{path} cannot be listened on ({error.strerror}).") from error
    return listening


if __name__ == "__main__":
    sys.exit(main())
