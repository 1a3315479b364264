"""Pushes on their way: a real receiver in all its moods, and dead ends. Each ends in time."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import trustme
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from tests.otlp_receiver import Receiver, Reply
from yolowatch import __version__
from yolowatch.edges import otlp
from yolowatch.edges.clock import SystemClock
from yolowatch.errors import ConfigError
from yolowatch.model.push import Answer, Otlp

MESSAGE = ExportMetricsServiceRequest()
MESSAGE.resource_metrics.add().scope_metrics.add().metrics.add(name="yolowatch_one")
BODY = MESSAGE.SerializeToString()
PASSWORD = "s3cr3t-word"
IN_TIME = Answer("it does not answer in time")
Make = Callable[..., Receiver]


@pytest.fixture
def receiver() -> Iterator[Make]:
    made: list[Receiver] = []

    def make(*replies: Reply, tls: ssl.SSLContext | None = None) -> Receiver:
        made.append(Receiver(*replies, tls=tls))
        return made[-1]

    yield make
    for each in made:
        each.close()


def send(wanted: Otlp | str, limit_seconds: float = 10.0) -> Answer:
    wanted = Otlp(wanted) if isinstance(wanted, str) else wanted
    answer = otlp.Sender(SystemClock(), limit_seconds).send(wanted, BODY)
    assert PASSWORD not in repr(answer)
    return answer


def test_a_push_arrives_whole(receiver: Make, tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text(f"# of the site\nAuthorization: Bearer {PASSWORD}\nX-Scope-OrgID: lab\n")
    found = receiver()
    wanted = Otlp(found.url, headers_file=str(file))
    assert send(wanted) == Answer()
    file.write_text("Authorization: Bearer other\n")
    assert send(wanted) == Answer()
    first, second = found.got
    assert (first.path, first.message) == ("/v1/metrics", MESSAGE)
    assert first.headers["Content-Type"] == "application/x-protobuf"
    assert first.headers["Content-Encoding"] == "gzip"
    assert first.headers["User-Agent"] == f"yolowatch/{__version__}"
    assert first.headers["Host"] == found.host
    assert (first.headers["Authorization"], first.headers["X-Scope-OrgID"]) == (
        f"Bearer {PASSWORD}",
        "lab",
    )
    assert second.headers["Authorization"] == "Bearer other", "it is read for every push"


def test_one_that_hangs_or_drips_is_left_in_time(receiver: Make) -> None:
    clock = SystemClock()
    for manner in ("hang", "drip"):
        found = receiver(Reply(manner=manner))
        began = clock.monotonic()
        assert send(found.url, 0.3) == IN_TIME
        assert clock.monotonic() - began < 8.0
        assert len(found.got) == 1


def test_one_that_never_speaks_tls_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert send(f"https://127.0.0.1:{silent.getsockname()[1]}/", 0.3) == IN_TIME


def test_nobody_there() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        answer = send(f"http://127.0.0.1:{closed.getsockname()[1]}/v1/metrics")
    assert answer == Answer("connection refused")


def test_a_name_that_nobody_has() -> None:
    answer = send("http://collector.invalid:4318/v1/metrics")
    assert answer.trouble
    assert "name" in answer.trouble


@pytest.mark.parametrize("host", ["x" * 63 + "." + "y" * 300, "-.-", "_"])
def test_a_name_that_nobody_can_have(host: str) -> None:
    assert send(f"https://{host}:4318/v1/metrics").trouble


def test_what_is_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=speak, daemon=True)
        thread.start()
        assert send(url) == Answer("what answers is no HTTP server")
        thread.join(10)


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (503, (("Retry-After", "7"),), 7.0),
        (429, (("Retry-After", " 120 "),), 120.0),
        (503, (), None),
        (503, (("Retry-After", "soon"),), None),
        (503, (("Retry-After", "Thu, 01 Jan 1970 00:00:00 GMT"),), 0.0),
        (500, (("Retry-After", "7"),), None),
        (400, (), None),
    ],
)
def test_one_that_cannot_now(
    receiver: Make, status: int, headers: tuple[tuple[str, str], ...], seconds: float | None
) -> None:
    found = receiver(Reply(status, headers), Reply())
    assert send(found.url) == Answer(f"it answers {status}", retry_after_seconds=seconds)
    assert send(found.url) == Answer()


def test_a_date_to_come_back_at(receiver: Make) -> None:
    when = datetime.now(timezone.utc) + timedelta(seconds=500)
    found = receiver(Reply(503, (("Retry-After", when.strftime("%a, %d %b %Y %H:%M:%S GMT")),)))
    later = send(found.url).retry_after_seconds
    assert later is not None
    assert 400 < later <= 500


def test_no_redirect_takes_the_headers_elsewhere(receiver: Make, tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text(f"Authorization: {PASSWORD}\n")
    elsewhere = receiver()
    for status in (301, 302, 307, 308):
        found = receiver(Reply(status, (("Location", elsewhere.url),)))
        answer = send(Otlp(found.url, headers_file=str(file)))
        assert answer == Answer(f"it answers {status}, which leads elsewhere: name that place")
    assert elsewhere.got == []


def test_who_we_are_is_not_believed(receiver: Make) -> None:
    assert send(receiver(Reply(401)).url) == Answer("it answers 401: see `headers_file`")


def test_a_part_that_was_not_taken_is_told(receiver: Make) -> None:
    told = ExportMetricsServiceResponse()
    told.partial_success.rejected_data_points = 3
    told.partial_success.error_message = "too many labels"
    found = receiver(Reply(body=told.SerializeToString()), Reply(body=b"\xff\xff"))
    assert send(found.url) == Answer("it takes only a part of the metrics", "too many labels")
    assert send(found.url) == Answer(), "it says 200, and nothing that is understood"


# ---------------------------------------------------------------- TLS


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def encrypted(receiver: Make, authority: trustme.CA, name: str = "127.0.0.1") -> Receiver:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return receiver(tls=context)


def test_the_sites_own_authority(receiver: Make, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    found = encrypted(receiver, authority)
    assert send(Otlp(found.url, ca_file=str(tmp_path / "ca.pem"))) == Answer()
    assert [each.message for each in found.got] == [MESSAGE]


def test_a_certificate_of_nobody_we_trust(
    receiver: Make, authority: trustme.CA, tmp_path: Path
) -> None:
    found = encrypted(receiver, authority)
    trouble = send(found.url).trouble
    assert trouble is not None
    assert trouble.startswith("its certificate is not trusted (")
    assert trouble.endswith(": see `ca_file`")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    other = send(Otlp(found.url, ca_file=str(tmp_path / "other.pem"))).trouble
    assert other is not None
    assert other.startswith("its certificate is not trusted (")
    assert found.got == []


def test_a_certificate_of_another_name(
    receiver: Make, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    found = encrypted(receiver, authority, "collector.example")
    trouble = send(Otlp(found.url, ca_file=str(tmp_path / "ca.pem"))).trouble
    assert trouble is not None
    assert "not trusted (IP address mismatch" in trouble
    assert found.got == []


def test_no_tls_where_tls_is_wanted(receiver: Make) -> None:
    found = receiver()
    assert send(found.url.replace("http:", "https:")) == Answer("no TLS can be spoken with it")


# ---------------------------------------------------------------- what is wrong before


def refused(wanted: Otlp) -> str:
    with pytest.raises(ConfigError) as caught:
        otlp.check(wanted)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert PASSWORD not in sentence
    # A push says the same.
    assert send(wanted) == Answer(sentence.removesuffix("."))
    return sentence


def test_files_that_are_wrong_are_one_sentence(tmp_path: Path) -> None:
    url, file = "https://collector.invalid:4318/v1/metrics", tmp_path / "file"
    path = str(file)
    assert refused(Otlp(url, headers_file=path)) == (
        f"The headers_file {path} cannot be read: No such file or directory."
    )
    assert refused(Otlp(url, ca_file=path)) == (
        f"The ca_file {path} cannot be read: No such file or directory."
    )
    file.write_text(PASSWORD)
    assert refused(Otlp(url, headers_file=path)).startswith(f"{path}, line 1 must be NAME: VALUE")
    assert refused(Otlp(url, ca_file=path)) == f"The ca_file {path} holds no certificate in PEM."
    file.write_bytes(b"a: \xff")
    assert "it is no regular ASCII text below 64 KiB" in refused(Otlp(url, headers_file=path))
    file.write_bytes(b"#" * 70_000)
    assert "it is no regular ASCII text below 64 KiB" in refused(Otlp(url, headers_file=path))
    assert "no regular ASCII text" in refused(Otlp(url, headers_file=str(tmp_path)))


def test_nothing_is_asked_of_who_pushes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_library(monkeypatch)
    otlp.check(Otlp(headers_file="/nowhere"))


def test_without_the_library_one_sentence_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_library(monkeypatch)
    with pytest.raises(ConfigError) as caught:
        otlp.check(Otlp("http://localhost:4318/v1/metrics"))
    assert str(caught.value) == ("otlp needs opentelemetry-proto: pip install 'yolowatch[otlp]'.")


def without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
