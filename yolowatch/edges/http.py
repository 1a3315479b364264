"""The read-only HTTP door: `/metrics`, `/-/healthy` and `/-/ready`, nothing else.

It serves what callables return and knows nothing of what they mean. A client that stalls, floods or
asks for something else costs a thread for a bounded time; nothing is ever written to the terminal,
which belongs to the training.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from yolowatch.errors import AddressError

Metrics = Callable[[str], tuple[str, bytes]]
"""Content type and body for an Accept header, which may be empty."""

_PLAIN = "text/plain; charset=utf-8"
_EXAMPLE = "write HOST:PORT, for example 127.0.0.1:9480, or port 0 for a free one"


@dataclass(frozen=True)
class Address:
    """Where to listen; `host` is a name or an IP address without brackets, port 0 a free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class HttpBounds:
    """What one server puts up with."""

    connections: int = 32
    silence_seconds: float = 5.0  # between two pieces of a request
    request_seconds: float = 20.0  # for all of it, with its answer


def parse_address(text: str) -> Address:
    """HOST:PORT, with brackets around an IPv6 address; raises AddressError."""
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise AddressError(f"{text!r} is no address: brackets are for IPv6; {_EXAMPLE}.")
    elif ":" in host:
        raise AddressError(
            f"{text!r} is no address: put brackets around an IPv6 host, as in [::1]:9480."
        )
    if not colon or not host or any(each.isspace() or each in "/@[]" for each in host):
        raise AddressError(f"{text!r} is no address: {_EXAMPLE}.")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise AddressError(f"{text!r} has no port from 0 to 65535: {_EXAMPLE}.")
    return Address(host, int(port))


class HttpServer:
    """A server bound to `address` at once, serving after `start`; raises AddressError.

    `address` is then the real one, with the port that was found. `failures` counts requests whose
    answer could not be made.
    """

    def __init__(
        self,
        address: Address,
        metrics: Metrics,
        *,
        healthy: Callable[[], bool] = lambda: True,
        ready: Callable[[], bool] = lambda: True,
        bounds: HttpBounds = HttpBounds(),
    ) -> None:
        family, target = _resolve(address)
        try:
            self._server = _Server(family, target, _Pages(metrics, healthy, ready), bounds)
        except OSError as error:
            raise AddressError(_sentence(address, error)) from error
        self.address = Address(address.host, int(self._server.server_address[1]))
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Of the metrics page."""
        return f"http://{self.address}/metrics"

    @property
    def failures(self) -> int:
        """Requests whose answer could not be made."""
        return self._server.failures

    def start(self) -> None:
        """Serve in threads of its own until `close`."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="http", kwargs={"poll_interval": 0.2}
        )
        self._thread.daemon = True
        self._thread.start()

    def close(self) -> None:
        """Stop listening; answers that are on their way may still be sent."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()


@dataclass(frozen=True)
class _Pages:
    metrics: Metrics
    healthy: Callable[[], bool]
    ready: Callable[[], bool]

    def answer(self, path: str, accept: str) -> tuple[HTTPStatus, str, bytes]:
        if path == "/metrics":
            content_type, body = self.metrics(accept)
            return HTTPStatus.OK, content_type, body
        if path == "/-/healthy":
            return _said(self.healthy(), "healthy")
        if path == "/-/ready":
            return _said(self.ready(), "ready")
        if path == "/":
            return HTTPStatus.OK, _PLAIN, b"yolowatch: see /metrics, /-/healthy and /-/ready\n"
        return HTTPStatus.NOT_FOUND, _PLAIN, b"not found\n"


def _said(is_so: bool, word: str) -> tuple[HTTPStatus, str, bytes]:
    if is_so:
        return HTTPStatus.OK, _PLAIN, f"{word}\n".encode()
    return HTTPStatus.SERVICE_UNAVAILABLE, _PLAIN, f"not {word}\n".encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(
        self, family: int, target: tuple[Any, ...], pages: _Pages, bounds: HttpBounds
    ) -> None:
        self.address_family = family
        self.pages, self.bounds, self.failures = pages, bounds, 0
        self._places = threading.BoundedSemaphore(bounds.connections)
        super().__init__(target, _Handler)

    def server_bind(self) -> None:
        # The base class asks the name service for our own name, which may take minutes.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.settimeout(0)
                request.send(b"HTTP/1.0 503 Service Unavailable\r\n\r\n")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # A drip of single bytes would renew the time limit of each read for ever.
        deadline = threading.Timer(self.bounds.request_seconds, _cut, (request,))
        deadline.daemon = True
        deadline.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.failures += 1
        with contextlib.suppress(OSError):
            request.sendall(b"HTTP/1.0 500 Internal Server Error\r\n\r\n")


def _cut(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "yolowatch"
    sys_version = ""
    error_content_type = _PLAIN
    error_message_format = "%(code)d\n"

    def setup(self) -> None:
        self.request.settimeout(self.server.bounds.silence_seconds)
        super().setup()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self._answer(*self.server.pages.answer(path, self.headers.get("Accept", "")))

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, _PLAIN, b"only GET and HEAD\n")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with the code alone: the base class would repeat parts of the request."""
        super().send_error(code)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the training's."""


def _resolve(address: Address) -> tuple[int, tuple[Any, ...]]:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise AddressError(
            f"The host of {address} is unknown ({getattr(error, 'strerror', None) or error}): "
            "give an IP address of this machine."
        ) from error
    family, _, _, _, target = found[0]
    return family, target


def _sentence(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"The address {address} is in use: choose another port, or 0 for a free one."
    if error.errno == errno.EACCES:
        return (
            f"Port {address.port} is reserved for root: choose one above 1023, or 0 for a free one."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address.host} is no address of this machine: choose 127.0.0.1 or one that is."
    return f"The address {address} cannot be listened on ({error.strerror}): choose another."
