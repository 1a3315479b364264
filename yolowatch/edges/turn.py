"""What one turn of the listener has heard, put together and handed on at once.

The thread behind the queue is woken once a turn, not in the midst of it, and windows that were read
together from one peer are one event. It reads no socket and knows no connection.

When the queue is full, samples and footprints are dropped and counted, since the next one replaces
them. Everything else is held back and reading stops until there is room: then the peers' socket
buffers fill, and a hook drops and counts rather than waits.
"""

from __future__ import annotations

import threading

from yolowatch.model.events import Event, HookMessage, HookRefused, Post

DROPPABLE_KINDS = ("sample", "footprints")
_MOST_EVENTS = 1024  # that are handed on together
_MOST_WINDOWS = 8  # in one event, so that a queue of events is bounded in memory too
_RETRY_SECONDS = 0.01


class Turn:
    """Used by one thread; `dropped` counts messages lost to a full queue, until `closing`."""

    def __init__(self, post: Post, closing: threading.Event) -> None:
        self._post, self._closing = post, closing
        self._events: list[Event] = []
        self._windows: list[HookMessage] = []  # of one connection, the last that was heard
        self.dropped = 0

    def hear(self, event: Event) -> None:
        """One more event, of which those of one connection come in their order."""
        if isinstance(event, HookMessage) and event.kind == "sample":
            windows = self._windows
            if windows and windows[-1].connection != event.connection:
                self._gather()
            windows.append(event)
            if len(windows) >= _MOST_WINDOWS:
                self._gather()
        else:
            self._gather()
            self._events.append(event)
        if len(self._events) >= _MOST_EVENTS:
            self.hand_on()

    def hand_on(self) -> None:
        """Post all of it."""
        self._gather()
        events, self._events = self._events, []
        for event in events:
            if isinstance(event, HookMessage) and event.kind in DROPPABLE_KINDS:
                if not self._post(event):
                    self.dropped += 1 + len(event.earlier)
            elif isinstance(event, HookRefused):
                self._post(event)
            else:
                self._post_surely(event)

    def _gather(self) -> None:
        """Make one event of the windows that were read together."""
        if not self._windows:
            return
        earlier = tuple(each.fields for each in self._windows[:-1])
        last = self._windows[-1]
        self._events.append(
            HookMessage(last.connection, last.process, last.kind, last.fields, last.at, earlier)
        )
        self._windows.clear()

    def _post_surely(self, event: Event) -> None:
        while not self._post(event):
            if self._closing.wait(_RETRY_SECONDS):
                return
