"""Where a hook that is brought into a process, or out of it, reports: a socket for this alone.

It is no daemon's: it takes the first words of one process, and when it closes, the hook goes on to
look for its daemon.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from yolowatch.edges import statedir
from yolowatch.edges.clock import Clock
from yolowatch.edges.listener import Listener
from yolowatch.model.events import Event, HookGone, HookMessage

_NAME = "greet.sock"


class Greeting:
    """Listens for process `pid` of user `uid`; raises StateError or AddressError."""

    def __init__(self, pid: int, uid: int, environment: Mapping[str, str], clock: Clock) -> None:
        self._pid = pid
        self._said: dict[str, Mapping[str, Any]] = {}
        self._gone = False
        self._changed = threading.Condition()
        self._folder = statedir.socket_directory(environment)
        self.path = self._folder / _NAME
        with contextlib.ExitStack() as undo:
            undo.callback(statedir.remove_socket_directory, self._folder)
            self._listener = Listener(
                self.path, self._take, uids=frozenset({os.geteuid(), uid}), clock=clock
            )
            if uid != os.geteuid():  # we are root, and they have to reach it
                os.chown(self.path, uid, -1)
                os.chown(self._folder, uid, -1)
            self._listener.start()
            undo.pop_all()

    def __enter__(self) -> Greeting:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.close()
        statedir.remove_socket_directory(self._folder)

    def hears(self, kind: str, seconds: float) -> bool:
        """Wait up to so long until the process has said this kind of message; whether it has."""
        return self._wait(lambda: kind in self._said, seconds)

    def hears_any(self, kinds: Sequence[str], seconds: float) -> bool:
        """As `hears`, for the first of several kinds."""
        return self._wait(lambda: any(kind in self._said for kind in kinds), seconds)

    def is_left(self, seconds: float) -> bool:
        """Wait up to so long until the process has ended the connection; whether it has."""
        return self._wait(lambda: self._gone, seconds)

    def said(self, kind: str) -> Mapping[str, Any]:
        """The fields of its last message of this kind; none where there was none."""
        with self._changed:
            return self._said.get(kind, {})

    def _wait(self, is_so: Callable[[], bool], seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(is_so, seconds)

    def _take(self, event: Event) -> bool:
        with self._changed:
            if isinstance(event, HookMessage) and event.process.pid == self._pid:
                self._said[event.kind] = event.fields
            elif isinstance(event, HookGone) and event.process.pid == self._pid:
                self._gone = True
            self._changed.notify_all()
        return True
