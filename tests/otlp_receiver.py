"""A receiver of metrics by OTLP: a real HTTP server in a thread that reads what it is sent."""

from __future__ import annotations

import contextlib
import gzip
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

Labels = tuple[tuple[str, str], ...]
TAKEN = ExportMetricsServiceResponse().SerializeToString()
PROTOBUF = {"Content-Type": "application/x-protobuf"}


@dataclass(frozen=True)
class Got:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    message: ExportMetricsServiceRequest

    @property
    def attributes(self) -> dict[str, str]:
        (found,) = self.message.resource_metrics
        return dict(labels(found.resource.attributes))

    def samples(self) -> dict[tuple[str, Labels], float]:
        """Each data point as Prometheus would name it."""
        return samples(self.message)


@dataclass(frozen=True)
class Reply:
    """What a request is answered with; `hang`: nothing, `drip`: a byte at a time, without end."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = TAKEN
    manner: str = ""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that distrusts the certificate or leaves in time is what tests are about."""


class Receiver:
    """Answers with `replies` in turn, then with the last for ever."""

    def __init__(self, *replies: Reply, tls: ssl.SSLContext | None = None) -> None:
        self.got: list[Got] = []
        self._replies = list(replies) or [Reply()]
        self._over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
                message = ExportMetricsServiceRequest.FromString(body)
                receiver.got.append(Got(self.path, dict(self.headers), message))
                receiver.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{'http' if tls is None else 'https'}://{self.host}/v1/metrics"
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if reply.manner == "hang":
            self._over.wait()
            return
        handler.send_response(reply.status)
        for name, value in (*PROTOBUF.items(), *reply.headers):
            handler.send_header(name, value)
        if reply.manner == "drip":
            handler.flush_headers()
            self._drip(handler)
            return
        handler.send_header("Content-Length", str(len(reply.body)))
        handler.end_headers()
        handler.wfile.write(reply.body)

    def _drip(self, handler: BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(OSError):  # it is left alone
            while not self._over.wait(0.02):
                handler.wfile.write(b"X: y\r\n")

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()


def labels(attributes: Any) -> Labels:
    return tuple(sorted((each.key, each.value.string_value) for each in attributes))


def samples(message: ExportMetricsServiceRequest) -> dict[tuple[str, Labels], float]:
    """Each data point as Prometheus names it; one that is there twice fails."""
    found: dict[tuple[str, Labels], float] = {}
    for of_us in message.resource_metrics:
        for scope in of_us.scope_metrics:
            for metric in scope.metrics:
                for name, point_labels, value in _points(metric):
                    assert (name, point_labels) not in found
                    found[name, point_labels] = value
    return found


def _points(metric: Any) -> Iterator[tuple[str, Labels, float]]:
    kind = metric.WhichOneof("data")
    for point in getattr(metric, kind).data_points:
        if kind == "summary":
            yield f"{metric.name}_count", labels(point.attributes), point.count
            yield f"{metric.name}_sum", labels(point.attributes), point.sum
        else:
            assert point.WhichOneof("value") == "as_double"
            yield metric.name, labels(point.attributes), point.as_double
