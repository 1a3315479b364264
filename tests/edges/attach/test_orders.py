"""The daemon's order to leave, on the hook's own connection; and a daemon that comes again."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from tests.edges.attach.targets import BUSY, means, running
from tests.edges.attach.test_pythons import left_nothing
from yolowatch.edges.attach.entering import attach
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.listener import Listener
from yolowatch.hook import wire
from yolowatch.model.events import Event, HookGone, HookMessage


class Daemon:
    """Only the socket of one."""

    def __init__(self, path: Path) -> None:
        self.events: list[Event] = []
        self._changed = threading.Condition()
        self.listener = Listener(
            path, self._post, uids=frozenset({os.geteuid()}), clock=SystemClock()
        )
        self.listener.start()

    def _post(self, event: Event) -> bool:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()
        return True

    def message(self, kind: str) -> HookMessage:
        def found() -> HookMessage | None:
            messages = (e for e in self.events if isinstance(e, HookMessage) and e.kind == kind)
            return next(messages, None)

        with self._changed:
            message = self._changed.wait_for(found, 60)
        assert message is not None
        return message

    def is_left(self) -> bool:
        with self._changed:
            return self._changed.wait_for(
                lambda: any(isinstance(e, HookGone) for e in self.events), 60
            )


def test_the_hook_obeys_the_order_to_leave(tmp_path: Path) -> None:
    socket = tmp_path / "hook.sock"
    daemon = Daemon(socket)
    try:
        with running((sys.executable, str(BUSY))) as target:
            attach(target.pid, means(tmp_path, socket=socket))
            hello = daemon.message("hello")
            assert hello.fields["late"] is True
            order = wire.encode("order", {"id": 7, "name": "detach"})
            assert daemon.listener.send(hello.connection, order)
            assert daemon.message("ack").fields == {"id": 7, "accepted": True}
            assert daemon.is_left()
            assert left_nothing(target)
            target.end()
    finally:
        daemon.listener.close()


def test_a_daemon_that_comes_again_is_found(tmp_path: Path) -> None:
    socket = tmp_path / "hook.sock"
    with running((sys.executable, str(BUSY))) as target:
        attach(target.pid, means(tmp_path, socket=socket))
        for _ in range(2):
            daemon = Daemon(socket)
            assert daemon.message("hello").process.pid == target.pid
            daemon.listener.close()
        target.end()


def test_a_hook_that_serves_a_daemon_stays_with_it(tmp_path: Path) -> None:
    socket = tmp_path / "hook.sock"
    daemon = Daemon(socket)
    try:
        with running((sys.executable, str(BUSY))) as target:
            attach(target.pid, means(tmp_path, socket=socket))
            daemon.message("hello")
            met = attach(target.pid, means(tmp_path, socket=tmp_path / "another.sock"))
            assert met.stays_with == str(socket)
            assert not any(isinstance(event, HookGone) for event in daemon.events)
            target.end()
    finally:
        daemon.listener.close()
