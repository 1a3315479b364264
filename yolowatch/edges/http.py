"""The read-only HTTP door: `/metrics`, `/-/healthy`, `/-/ready`, and the pages it is given.

It serves what callables return and knows nothing of what they mean. Who may come in is decided by
`http_access`. A client that stalls, floods or asks for something else costs a thread for a bounded
time; nothing is ever written to the terminal, which belongs to the training.

The standard library's server, because each bound stands here in one line, and a scrape is one
request: cheroot bounds each read but not a whole request, and reads its certificate once; waitress
has no TLS.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any

from yolowatch.edges.clock import Clock, SystemClock
from yolowatch.edges.http_access import Access, Guard
from yolowatch.edges.http_address import Address, parse_address, resolve, sentence
from yolowatch.edges.http_deadlines import Deadlines
from yolowatch.edges.http_routes import PLAIN, Metrics, Page, Pages, Routes, plain
from yolowatch.edges.http_shared import Shared
from yolowatch.errors import AddressError

__all__ = ["Address", "HttpBounds", "HttpServer", "Page", "parse_address"]


@dataclass(frozen=True)
class HttpBounds:
    """What one server puts up with."""

    connections: int = 96
    silence_seconds: float = 5.0  # between two pieces of a request
    request_seconds: float = 20.0  # for all of it, with its answer
    request_bytes: int = 96 << 10  # of request line and headers
    linger_seconds: float = 1.0  # in which what a refused client still sends is thrown away


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
        pages: Pages = lambda path: None,
        access: Access | None = None,
        bounds: HttpBounds = HttpBounds(),
        clock: Clock | None = None,
    ) -> None:
        family, target = resolve(address)
        clock = clock or SystemClock()
        self._access = access or Access(None, clock, lambda sentence: None)
        routes = Routes(metrics, healthy, ready, Shared(pages))
        try:
            self._server = _Server(family, target, routes, self._access, bounds, clock)
        except OSError as error:
            raise AddressError(sentence(address, error)) from error
        self.address = Address(address.host, int(self._server.server_address[1]))
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Of the metrics page."""
        return f"{'https' if self._access.encrypted else 'http'}://{self.address}/metrics"

    @property
    def exposed(self) -> bool:
        """Whether it can be read from outside by anybody."""
        return not self.address.is_loopback and not self._access.asks

    @property
    def failures(self) -> int:
        """Requests whose answer could not be made."""
        return self._server.failures

    def start(self) -> None:
        """Serve in threads of its own until `close`."""
        self._server.deadlines.start()
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
        self._server.deadlines.close()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        family: int,
        target: tuple[Any, ...],
        routes: Routes,
        access: Access,
        bounds: HttpBounds,
        clock: Clock,
    ) -> None:
        self.address_family = family
        self.routes, self.access, self.bounds, self.failures = routes, access, bounds, 0
        self.clock = clock
        self.deadlines = Deadlines(bounds.request_seconds, clock)
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
        place = self.deadlines.begin(request)
        try:
            request = self._opened(request, place)
            if request is not None:
                super().process_request_thread(request, client_address)
        finally:
            self.deadlines.end(place)
            self._places.release()

    def _opened(self, request: socket.socket, place: int) -> socket.socket | None:
        """The connection as it is spoken on; None where no handshake came about."""
        request.settimeout(self.bounds.silence_seconds)
        guard = self.access.guard()
        if guard.context is None:
            return request
        try:
            wrapped = guard.context.wrap_socket(
                request, server_side=True, do_handshake_on_connect=False
            )
            self.deadlines.replace(place, wrapped)
            try:
                wrapped.do_handshake()
                if guard.known(wrapped):
                    return wrapped
            except OSError:
                pass
            self.shutdown_request(wrapped)
        except OSError:
            self.shutdown_request(request)
        return None

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.failures += 1
        with contextlib.suppress(OSError):
            request.sendall(b"HTTP/1.0 500 Internal Server Error\r\n\r\n")


class _Bounded:
    """The client's bytes, of which a request may have so many."""

    def __init__(self, stream: BufferedIOBase, most: int) -> None:
        self._stream, self._left = stream, most

    def readline(self, size: int = -1) -> bytes:
        line = self._stream.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("header")  # answered with 431 by the base class
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "yolowatch"
    sys_version = ""
    error_content_type = PLAIN
    error_message_format = "%(code)d\n"

    def setup(self) -> None:
        super().setup()
        self.guard: Guard = self.server.access.guard()
        self.rfile: Any = _Bounded(self.rfile, self.server.bounds.request_bytes)

    def do_GET(self) -> None:
        if not self.guard.passwords.allow(self.headers.get("Authorization")):
            self._answer(HTTPStatus.UNAUTHORIZED, plain("a name and a password are needed"))
            return
        path = self.path.partition("?")[0]
        self._answer(*self.server.routes.answer(path, self.headers.get("Accept", "")))

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, plain("only GET and HEAD"))
        self._linger()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _answer(self, status: HTTPStatus, page: Page) -> None:
        headers = {
            "Content-Type": page.content_type,
            "Content-Length": str(len(page.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = "GET, HEAD"
        elif status is HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = 'Basic realm="yolowatch", charset="UTF-8"'
        if page.policy:
            headers["Content-Security-Policy"] = f"{page.policy}; frame-ancestors 'none'"
            headers |= {"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}
        self.send_response(status)
        for name, value in (headers | dict(self.guard.config.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with the code alone: the base class would repeat parts of the request."""
        super().send_error(code)
        self._linger()

    def _linger(self) -> None:
        """Let the answer arrive: closing on what was not read would take it away again."""
        self.close_connection = True
        if isinstance(self.connection, ssl.SSLSocket):
            return
        clock, end = self.server.clock, self.server.clock.monotonic()
        end += self.server.bounds.linger_seconds
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            while (left := end - clock.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(1 << 16):
                    return

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the training's."""
