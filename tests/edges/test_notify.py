"""Messages on their way: a real receiver of webhooks, a real mail server, and dead ends."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from yolowatch.edges.clock import SystemClock
from yolowatch.edges.notify import Notifier
from yolowatch.edges.told_file import ToldFile
from yolowatch.model.notifications import Message, Weight

MESSAGE = Message(
    Weight.PERSON, "[yolowatch] box: run 12: not restarted", "Why: x <script>", (("aa", "not"),)
)
PASSWORD = "s3cr3t-word"


class Receiver:
    """An HTTP server that takes webhooks; the first `refusals` are answered with 500."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.refusals = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.refusals:
                    receiver.refusals -= 1
                    self.send_response(500)
                else:
                    receiver.got.append(json.loads(body))
                    self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"json://ann:{PASSWORD}@127.0.0.1:{self.server.server_address[1]}/hook"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


class Desk:
    """A notifier in its thread, and what it says and delivers."""

    def __init__(self, retry_seconds: tuple[float, ...] = (0.05, 0.05)) -> None:
        self.said: list[str] = []
        self.delivered: list[Message] = []
        self.notifier = Notifier(
            SystemClock(), self.said.append, self.delivered.append, retry_seconds
        )
        self.thread = threading.Thread(target=self.notifier.work, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.notifier.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def desk(capfd: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    found = Desk()
    yield found
    found.close()
    shown = capfd.readouterr()
    assert PASSWORD not in "".join((*found.said, shown.out, shown.err))


def until(happened: Any) -> None:
    clock = SystemClock()
    end = clock.monotonic() + 30
    while not happened():
        assert clock.monotonic() < end
        clock.sleep(0.02)


def test_a_webhook_gets_the_message(receiver: Receiver, desk: Desk) -> None:
    desk.notifier.send(MESSAGE, [receiver.url])
    until(lambda: desk.delivered)
    (got,) = receiver.got
    assert (got["title"], got["type"]) == (MESSAGE.title, "failure")
    assert "Why: x" in got["message"]
    assert desk.said == []


def test_mail_arrives_as_text(desk: Desk) -> None:
    class Box:
        mails: list[Any] = []  # noqa: RUF012 of this one server

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            self.mails.append(envelope)
            return "250 taken"

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    box = Box()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        url = f"mailto://127.0.0.1:{port}?from=box@example.org&to=ann@example.org&mode=insecure"
        desk.notifier.send(MESSAGE, [url])
        until(lambda: box.mails)
    finally:
        controller.stop()
    (mail,) = box.mails
    assert mail.rcpt_tos == ["ann@example.org"]
    text = mail.content.decode()
    assert "text/plain" in text
    assert "text/html" not in text


def test_a_target_that_fails_is_tried_again(receiver: Receiver, desk: Desk) -> None:
    receiver.refusals = 2
    desk.notifier.send(MESSAGE, [receiver.url])
    until(lambda: desk.delivered)
    assert len(receiver.got) == 1
    assert desk.said == ["notification target 1 (json) took no message; it is tried again"]


def test_a_dead_target_is_given_up_and_holds_nobody_up(receiver: Receiver, desk: Desk) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"json://ann:{PASSWORD}@127.0.0.1:{closed.getsockname()[1]}/"
        clock = SystemClock()
        began = clock.monotonic()
        desk.notifier.send(MESSAGE, [dead, receiver.url])
        assert clock.monotonic() - began < 1.0
        until(lambda: receiver.got)
        until(lambda: desk.notifier.lost)
    assert desk.said[-1] == (
        "notification target 1 (json) did not take a message in 3 tries and it is given up: check "
        "the URL and the service"
    )
    assert desk.delivered == [MESSAGE]


def test_a_url_that_apprise_does_not_know(desk: Desk) -> None:
    desk.notifier.send(MESSAGE, [f"nosuchkind://{PASSWORD}@host"])
    until(lambda: desk.notifier.lost)
    assert "target 1 (nosuchkind) is of no form that Apprise knows" in desk.said[0]


def test_without_apprise_one_sentence(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    desk.notifier.send(MESSAGE, ["json://host/"])
    until(lambda: desk.notifier.lost)
    assert desk.said[0] == "notifications need Apprise: pip install 'yolowatch[notify]'"


def test_what_waits_is_bounded() -> None:
    notifier = Notifier(SystemClock(), lambda sentence: None)
    for _ in range(300):
        notifier.send(MESSAGE, ["json://host/"])
    assert notifier.lost == 300 - 256


def test_apprise_itself_says_nothing(receiver: Receiver, desk: Desk) -> None:
    desk.notifier.send(MESSAGE, [receiver.url])
    until(lambda: desk.delivered)
    assert logging.getLogger("apprise").disabled


def test_what_was_told_is_remembered(tmp_path: Any) -> None:
    file = ToldFile(tmp_path)
    assert file.read() == {}
    file.keep({"aa": "not restarted"})
    assert ToldFile(tmp_path).read() == {"aa": "not restarted"}
    file.path.write_text("[1")
    assert file.read() == {}
