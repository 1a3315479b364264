"""The HTTP door, over real sockets."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from yolowatch.edges.clock import SystemClock
from yolowatch.edges.http import Address, HttpBounds, HttpServer, parse_address
from yolowatch.errors import AddressError

BODY = b"yolowatch_up 1\n"
MakeServer = Callable[..., HttpServer]


@pytest.fixture
def make() -> Iterator[MakeServer]:
    made: list[HttpServer] = []

    def start(**options: object) -> HttpServer:
        metrics = options.pop("metrics", lambda accept: (f"text/x; of={accept}", BODY))
        server = HttpServer(Address("127.0.0.1", 0), metrics, **options)  # type: ignore[arg-type]
        server.start()
        made.append(server)
        return server

    yield start
    for each in made:
        each.close()


def ask(
    server: HttpServer, path: str, method: str = "GET", accept: str = "a"
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.address.port, timeout=10)
    connection.request(method, path, headers={"Accept": accept})
    response = connection.getresponse()
    result = (response.status, dict(response.getheaders()), response.read())
    connection.close()
    return result


def test_metrics_with_the_type_that_was_asked_for(make: MakeServer) -> None:
    server = make()
    assert server.address.port != 0
    assert server.url == f"http://127.0.0.1:{server.address.port}/metrics"
    status, headers, body = ask(server, "/metrics?x=1", accept="application/openmetrics-text")
    assert (status, body) == (200, BODY)
    assert headers["Content-Type"] == "text/x; of=application/openmetrics-text"
    assert headers["Content-Length"] == str(len(BODY))
    assert headers["Server"] == "yolowatch "


def test_head_has_everything_but_the_body(make: MakeServer) -> None:
    status, headers, body = ask(make(), "/metrics", "HEAD")
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str(len(BODY))


def test_healthy_and_ready_say_what_they_are_told(make: MakeServer) -> None:
    state = {"healthy": True, "ready": False}
    server = make(healthy=lambda: state["healthy"], ready=lambda: state["ready"])
    assert ask(server, "/-/healthy")[::2] == (200, b"healthy\n")
    assert ask(server, "/-/ready")[::2] == (503, b"not ready\n")
    state.update(healthy=False, ready=True)
    assert ask(server, "/-/healthy")[::2] == (503, b"not healthy\n")
    assert ask(server, "/-/ready")[::2] == (200, b"ready\n")


@pytest.mark.parametrize("path", ["/x", "/metrics/", "/../etc/passwd", "/%2e"])
def test_anything_else_is_not_found(make: MakeServer, path: str) -> None:
    assert ask(make(), path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(make: MakeServer, method: str) -> None:
    status, headers, _ = ask(make(), "/metrics", method)
    assert status == 405
    assert headers["Allow"] == "GET, HEAD"


def test_a_failure_to_answer_is_500_counted_and_silent(
    make: MakeServer, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(accept: str) -> tuple[str, bytes]:
        raise RuntimeError("a bug")

    server = make(metrics=fail)
    assert ask(server, "/metrics")[0] == 500
    assert server.failures == 1
    assert ask(server, "/-/healthy")[0] == 200
    raw(server, b"\x00\xff<script>\r\n\r\n")
    raw(server, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n")
    captured = capfd.readouterr()
    assert captured.err == ""
    assert captured.out == ""


def raw(server: HttpServer, request: bytes) -> bytes:
    """All that comes back for bytes that no client library would send."""
    with socket.create_connection(("127.0.0.1", server.address.port), timeout=10) as client:
        client.sendall(request)
        answer = b""
        try:
            while chunk := client.recv(65536):
                answer += chunk
        except ConnectionResetError:
            pass
        return answer


def test_rubbish_is_refused_and_never_repeated(make: MakeServer) -> None:
    server = make()
    assert b"script" not in raw(server, b"<script> / HTTP/1.1\r\n\r\n")
    assert b"400" in raw(server, b"GET / HTTP/banana\r\n\r\n")
    assert b" 431 " in raw(server, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n")
    assert b" 414 " in raw(server, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n")
    assert ask(server, "/metrics")[0] == 200


def drip(client: socket.socket, seconds: float) -> None:
    clock = SystemClock()
    end = clock.monotonic() + seconds
    while clock.monotonic() < end:
        client.sendall(b"x")
        clock.sleep(0.1)


def test_silent_and_dripping_clients_are_cut(make: MakeServer) -> None:
    server = make(bounds=HttpBounds(silence_seconds=0.3, request_seconds=1.0))
    clock = SystemClock()
    began = clock.monotonic()
    assert raw(server, b"GET / HT") == b""
    assert clock.monotonic() - began < 5
    client = socket.create_connection(("127.0.0.1", server.address.port), timeout=10)
    with client, pytest.raises(OSError, match=r"reset|pipe"):
        drip(client, 8)


def test_connections_are_bounded_and_come_back(make: MakeServer) -> None:
    server = make(bounds=HttpBounds(connections=3, silence_seconds=1.0))
    idle = [
        socket.create_connection(("127.0.0.1", server.address.port), timeout=10) for _ in range(3)
    ]
    assert raw(server, b"").startswith(b"HTTP/1.0 503")
    for each in idle:
        each.close()
    clock = SystemClock()
    end = clock.monotonic() + 10
    while raw(server, b"GET /-/healthy HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 503"):
        assert clock.monotonic() < end
        clock.sleep(0.02)


def test_scrapes_at_the_same_time(make: MakeServer) -> None:
    server, answers = make(), []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(server, "/metrics")[2]))
        for _ in range(20)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert answers == [BODY] * 20


def test_close_frees_the_port(make: MakeServer) -> None:
    server = make()
    ask(server, "/metrics")
    server.close()
    again = HttpServer(server.address, lambda accept: ("", b""))
    again.close()


def test_addresses_that_are_taken_or_not_ours(make: MakeServer) -> None:
    server = make()
    with pytest.raises(AddressError, match=r"127\.0\.0\.1:\d+ is in use: choose another port"):
        HttpServer(server.address, lambda accept: ("", b""))
    with pytest.raises(AddressError, match="is no address of this machine"):
        HttpServer(Address("192.0.2.1", 0), lambda accept: ("", b""))
    for host in ("no.such.host.invalid", "a" * 70, "x..y"):
        with pytest.raises(AddressError, match="is unknown"):
            HttpServer(Address(host, 0), lambda accept: ("", b""))


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")
def test_a_port_that_is_reserved_for_root() -> None:
    program = """
import os
import socket
from yolowatch.edges.http import Address, HttpServer
from yolowatch.errors import AddressError
socket.getaddrinfo("localhost", 1)  # what it imports may be closed to the other user
os.setuid(65534)
try:
    HttpServer(Address("127.0.0.1", 80), lambda accept: ("", b""))
except AddressError as error:
    print(error)
else:
    print("allowed")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stdout == "allowed\n":
        pytest.skip("no port is reserved here")
    assert "Port 80 is reserved for root" in done.stdout, done.stderr


def test_ipv6(make: MakeServer) -> None:
    try:
        server = HttpServer(Address("::1", 0), lambda accept: ("a", BODY))
    except AddressError:
        pytest.skip("no IPv6 here")
    server.start()
    assert server.url == f"http://[::1]:{server.address.port}/metrics"
    connection = http.client.HTTPConnection("::1", server.address.port, timeout=10)
    connection.request("GET", "/metrics")
    assert connection.getresponse().read() == BODY
    connection.close()
    server.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9480", Address("127.0.0.1", 9480)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:65535", Address("::1", 65535)),
        (" 0.0.0.0:1 ", Address("0.0.0.0", 1)),
    ],
)
def test_addresses_that_are_understood(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "9480", ":9480", "host:", "host:x", "host:-1", "host:65536", "host:٣", "::1:9480",
        "[::1]", "[host]:1", "http://host:1", "a b:1", "user@host:1", "[::1:1", "host:1e3",
    ],
)  # fmt: skip
def test_addresses_that_are_not(text: str) -> None:
    with pytest.raises(AddressError, match=r"9480"):
        parse_address(text)
