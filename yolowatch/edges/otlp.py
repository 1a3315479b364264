"""Pushes one request by OTLP over HTTP: gzip, TLS that is verified, bounded in bytes and in time.

The standard library's client, because each bound is one line of it: a whole push ends in time
however slowly a receiver speaks, no redirect carries our headers elsewhere, and the authorities are
those that the system trusts. No proxy is used. When to push, and again, is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import importlib.util
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from yolowatch import __version__
from yolowatch.config.otlp import Headers, headers
from yolowatch.edges.clock import Clock
from yolowatch.edges.files import read_bounded
from yolowatch.errors import ConfigError
from yolowatch.model.push import Answer, Otlp

LIMIT_SECONDS = 20.0
_CONNECT_SECONDS = 5.0
_MAX_HEADERS_BYTES, _MAX_ANSWER_BYTES = 64 << 10, 64 << 10
_TRY_LATER = (429, 502, 503, 504)  # of which the specification says that they pass
_TOO_LATE = "it does not answer in time"
_PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True)
class _Target:
    host: str
    port: int | None
    path: str
    headers: Headers
    tls: ssl.SSLContext | None  # None: plain HTTP


def check(wanted: Otlp) -> None:
    """Raises ConfigError, in one sentence, where nothing could be pushed as it is configured."""
    if wanted.endpoint is None:
        return
    try:
        found = importlib.util.find_spec("opentelemetry.proto.collector.metrics.v1")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ConfigError("otlp needs opentelemetry-proto: pip install 'yolowatch[otlp]'.")
    _target(wanted)


def host_of(wanted: Otlp) -> str:
    """Of the endpoint, for people."""
    return urllib.parse.urlsplit(wanted.endpoint or "").netloc


class Sender:
    """`send` blocks for `limit_seconds` at most, beside what the system takes to find a name."""

    def __init__(self, clock: Clock, limit_seconds: float = LIMIT_SECONDS) -> None:
        self._clock, self._limit_seconds = clock, limit_seconds

    def send(self, wanted: Otlp, body: bytes) -> Answer:
        """Push `body`, and say what came of it."""
        cut = threading.Event()
        try:
            target = _target(wanted)
            with self._connected(target, cut) as connection:
                connection.request("POST", target.path, gzip.compress(body, 6), _headers(target))
                answer = connection.getresponse()
                told = answer.read(_MAX_ANSWER_BYTES)
                # What was cut may look like the end of an answer.
                return Answer(_TOO_LATE) if cut.is_set() else self._judged(answer, told)
        except ConfigError as error:
            return Answer(str(error).rstrip("."))
        except ssl.SSLCertVerificationError as error:
            why = error.verify_message.rstrip(".")
            return Answer(f"its certificate is not trusted ({why}): see `ca_file`")
        except TimeoutError:
            return Answer(_TOO_LATE)
        except (OSError, http.client.HTTPException) as error:
            return Answer(_TOO_LATE if cut.is_set() else _reason(error))
        except ValueError:  # of a name that is too long, or that TLS does not take
            return Answer("its name cannot be looked up")

    @contextlib.contextmanager
    def _connected(
        self, target: _Target, cut: threading.Event
    ) -> Iterator[http.client.HTTPConnection]:
        """A connection that is cut when the time is over; `cut` says so."""
        connection = http.client.HTTPConnection(target.host, target.port)
        if target.tls is not None:
            connection = http.client.HTTPSConnection(target.host, target.port, context=target.tls)
        seconds = min(_CONNECT_SECONDS, self._limit_seconds)
        speaking = socket.create_connection((target.host, connection.port), timeout=seconds)

        def end() -> None:
            cut.set()
            with contextlib.suppress(OSError):
                socket.socket.shutdown(speaking, socket.SHUT_RDWR)

        timer = threading.Timer(self._limit_seconds, end)
        timer.daemon, timer.name = True, "otlp-limit"
        timer.start()
        try:
            speaking.settimeout(self._limit_seconds)
            if target.tls is not None:
                # The handshake comes after, so that the timer cuts it too.
                speaking = target.tls.wrap_socket(
                    speaking, server_hostname=target.host, do_handshake_on_connect=False
                )
                speaking.do_handshake()
            connection.sock = speaking
            yield connection
        finally:
            timer.cancel()
            speaking.close()

    def _judged(self, answer: http.client.HTTPResponse, body: bytes) -> Answer:
        status = answer.status
        if 200 <= status < 300:
            return _whole_or_part(answer.headers.get_content_type(), body)
        if 300 <= status < 400:
            return Answer(f"it answers {status}, which leads elsewhere: name that place")
        if status in (401, 403):
            return Answer(f"it answers {status}: see `headers_file`")
        later = self._later(answer.getheader("Retry-After", "")) if status in _TRY_LATER else None
        return Answer(f"it answers {status}", retry_after_seconds=later)

    def _later(self, text: str) -> float | None:
        """Seconds, from a number of them or from a date."""
        if text.strip().isascii() and text.strip().isdigit():
            return float(text.strip()[:9])
        try:
            return max(parsedate_to_datetime(text).timestamp() - self._clock.wall(), 0.0)
        except (ValueError, OverflowError):
            return None


def _whole_or_part(content_type: str, body: bytes) -> Answer:
    """Whether what was taken is all of it; a receiver that says nothing has taken all."""
    if content_type != _PROTOBUF:
        return Answer()
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

    try:
        told = metrics_service_pb2.ExportMetricsServiceResponse.FromString(body).partial_success
    except DecodeError:
        return Answer()
    if not told.rejected_data_points:
        return Answer()
    return Answer("it takes only a part of the metrics", str(told.error_message)[:300])


def _target(wanted: Otlp) -> _Target:
    """Everything that a push needs, read anew; raises ConfigError."""
    parts = urllib.parse.urlsplit(wanted.endpoint or "")
    found: Headers = ()
    if wanted.headers_file is not None:
        found = headers(_text(wanted.headers_file), wanted.headers_file)
    tls = _tls(wanted.ca_file) if parts.scheme == "https" else None
    return _Target(parts.hostname or "", parts.port, parts.path, found, tls)


def _text(path: str) -> str:
    try:
        return read_bounded(Path(path), _MAX_HEADERS_BYTES).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no regular ASCII text below 64 KiB"
        raise ConfigError(f"The headers_file {path} cannot be read: {reason}.") from None


def _tls(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise ConfigError(f"The ca_file {ca_file} holds no certificate in PEM.") from None
    except OSError as error:
        raise ConfigError(f"The ca_file {ca_file} cannot be read: {error.strerror}.") from None


def _headers(target: _Target) -> dict[str, str]:
    ours = {
        "Content-Type": _PROTOBUF,
        "Content-Encoding": "gzip",
        "User-Agent": f"yolowatch/{__version__}",
        "Connection": "close",
    }
    return {**dict(target.headers), **ours}


def _reason(error: BaseException) -> str:
    if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
        return "what answers is no HTTP server"
    if isinstance(error, ssl.SSLError):
        return "no TLS can be spoken with it"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
