"""Tells when processes end that are nobody's children here: one thread watches all their pidfds."""

from __future__ import annotations

import os
import select
import threading

from yolowatch.edges.clock import Clock
from yolowatch.edges.oom_kills import OomKills, oom_kills
from yolowatch.edges.proc import process_key
from yolowatch.hands.port import PostOf
from yolowatch.model.events import ProcessExited
from yolowatch.model.identity import ProcessKey

_RETRY_SECONDS = 0.02


class Exits:
    """`watch` may be called from any thread; exit statuses belong to the real parents."""

    def __init__(self, post: PostOf, clock: Clock) -> None:
        self._post, self._clock = post, clock
        self._lock = threading.Lock()
        self._watched: dict[int, tuple[ProcessKey, OomKills]] = {}
        self._closing = False
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._poll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._work, name="yolowatch-exits", daemon=True)
        self._thread.start()

    def watch(self, process: ProcessKey) -> None:
        """Post one ProcessExited for this very process, at once where it has ended already."""
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            self._tell(process)
            return
        if process_key(process.pid) != process:  # its pid is another's now
            os.close(pidfd)
            self._tell(process)
            return
        with self._lock:
            if any(process == watched for watched, _ in self._watched.values()):
                os.close(pidfd)
                return
            self._watched[pidfd] = (process, oom_kills(process.pid))
        self._poll.register(pidfd, select.EPOLLIN)

    def close(self) -> None:
        """End the thread; nothing is posted any more."""
        self._closing = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        for pidfd in self._watched:
            os.close(pidfd)
        self._poll.close()
        os.close(self._wake)

    def _work(self) -> None:
        while not self._closing:
            for number, _ in self._poll.poll():
                with self._lock:
                    watched = self._watched.pop(number, None)
                if watched is not None:
                    self._poll.unregister(number)
                    os.close(number)
                    process, kills = watched
                    self._tell(process, kills.since())

    def _tell(self, process: ProcessKey, kills: int | None = None) -> None:
        """Even if the queue is full: nobody else would ever say it."""
        event = ProcessExited(process, None, None, self._clock.monotonic(), kills)
        while not self._post(None, event) and not self._closing:
            self._clock.sleep(_RETRY_SECONDS)
