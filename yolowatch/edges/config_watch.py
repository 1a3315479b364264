"""Tells the loop when the configuration's files change, without a restart.

inotify (through watchdog) says it at once; a look at the files every few seconds says it where
inotify is silent: on network file systems, behind symbolic links, where its watches are used up.
What changed is read here and judged by the loop: a bad file changes nothing but a sentence.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from yolowatch.edges.clock import Clock
from yolowatch.edges.config_files import DROP_INS, Documents, drop_ins, read_documents
from yolowatch.edges.mounts import is_network_filesystem
from yolowatch.errors import ConfigError
from yolowatch.model.events import ConfigChanged, Post

_READING = ("opened", "closed_no_write")  # what our own look at the files causes

Signature = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Pace:
    """How often the files are looked at, in seconds."""

    poll: float = 10.0
    poll_silent: float = 2.0  # where inotify says nothing
    settle: float = 0.2  # an editor writes in several strokes


class ConfigWatch:
    """Watches `path` and its drop-ins; `documents` are what the loop has already."""

    def __init__(
        self, path: Path, post: Post, clock: Clock, documents: Documents, pace: Pace = Pace()
    ) -> None:
        self.path = path.absolute()
        self._post, self._clock, self._pace = post, clock, pace
        self._told: Documents | str = documents
        self._wake = threading.Event()
        self._closing = False
        self._asked = False
        self._watches: dict[Path, ObservedWatch] = {}
        self._observer: BaseObserver | None = None
        self._silent = is_network_filesystem(self.path)
        if not self._silent:
            self._observer = Observer()
            self._observer.name = "config-inotify"
            try:
                self._observer.start()
            except OSError:  # no instance or watch of inotify is left: then it is looked at often
                self._silent, self._observer = True, None
        self._thread = threading.Thread(target=self.work, name="config", daemon=True)

    def start(self) -> None:
        """Watch in a thread of its own until `close`."""
        self._thread.start()

    def reload(self) -> None:
        """Read the files now and tell the loop, changed or not."""
        self._asked = True
        self._wake.set()

    def close(self) -> None:
        """End the threads."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()

    def work(self) -> None:
        """Watch in this thread until `close` is called from another."""
        seen: Signature | None = None  # what changed since the loop read it is told at once
        while not self._closing:
            self._follow()  # first, so that what changes after the look wakes it
            now = self._signature()
            if now != seen or self._asked:
                seen = now
                self._look()
            self._wake.wait(self._pace.poll_silent if self._silent else self._pace.poll)
            while self._wake.is_set() and not self._closing:
                self._wake.clear()
                self._wake.wait(self._pace.settle)

    def _look(self) -> None:
        asked, self._asked = self._asked, False
        found: Documents | str
        try:
            found = read_documents(self.path)
        except ConfigError as error:
            found = str(error)
        if found == self._told and not asked:
            return
        documents, trouble = (found, None) if isinstance(found, tuple) else ((), found)
        if self._post(ConfigChanged(documents, trouble, self._clock.monotonic())):
            self._told = found
        else:  # the queue is full: again in a moment
            self.reload()

    def _signature(self) -> Signature:
        """What tells one state of the files from another, without reading them."""
        try:
            paths = (self.path, *drop_ins(self.path))
        except ConfigError:
            paths = (self.path,)
        found = []
        for path in paths:
            try:
                status = os.stat(path)
            except OSError:
                continue
            found.append((str(path), status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)

    def _follow(self) -> None:
        """Have inotify watch the directories that exist now."""
        if self._observer is None:
            return
        handler = _Waker(self._wake.set)
        for directory in (self.path.parent, self.path.parent / DROP_INS):
            if directory.is_dir() and directory not in self._watches:
                try:
                    watch = self._observer.schedule(handler, str(directory))
                except OSError:
                    self._silent = True
                    continue
                self._watches[directory] = watch
            elif not directory.is_dir() and directory in self._watches:
                self._observer.unschedule(self._watches.pop(directory))


class _Waker(FileSystemEventHandler):
    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in _READING:
            self._wake()
