"""What one turn of the listener has heard, put together and handed on at once.

The thread behind the queue is woken once a turn, not in the midst of it, and windows or footprints
that were read together from one peer are one event. It reads no socket and knows no connection.

When the queue is full, samples and footprints are dropped and counted, since the next one replaces
them. Everything else is held back and reading stops until there is room: then the peers' socket
buffers fill, and a hook drops and counts rather than waits.
"""

from __future__ import annotations

import threading

from yolowatch.model.events import Event, HookMessage, HookRefused, Post
from yolowatch.model.fold import Fields
from yolowatch.model.identity import ProcessKey
from yolowatch.model.joining import KINDS, joined

_MOST_EVENTS = 1024  # that are handed on together
_RETRY_SECONDS = 0.01


class Turn:
    """Used by one thread; `dropped` counts messages lost to a full queue, until `closing`."""

    def __init__(self, post: Post, closing: threading.Event) -> None:
        self._post, self._closing = post, closing
        self._events: list[Event] = []
        # Of one connection: fields by kind, the kind that was heard last at the end; and from whom.
        self._joining: dict[str, list[Fields]] = {}
        self._from: tuple[int, ProcessKey, float] | None = None
        self.dropped = 0

    def hear(self, event: Event) -> None:
        """One more event, of which those of one connection come in their order."""
        self._gather()
        self._events.append(event)
        if len(self._events) >= _MOST_EVENTS:
            self.hand_on()

    def told(
        self, connection: int, process: ProcessKey, kind: str, fields: Fields, at: float
    ) -> None:
        """One more message, which becomes an event of its own or a part of one."""
        if kind not in KINDS:
            self.hear(HookMessage(connection, process, kind, fields, at))
            return
        if self._from is not None and self._from[0] != connection:
            self._gather()
        self._from = connection, process, at
        these = self._joining.pop(kind, [])
        these.append(fields)
        self._joining[kind] = these

    def hand_on(self) -> None:
        """Post all of it."""
        self._gather()
        events, self._events = self._events, []
        for event in events:
            if isinstance(event, HookMessage) and event.kind in KINDS:
                if not self._post(event):
                    self.dropped += event.count
            elif isinstance(event, HookRefused):
                self._post(event)
            else:
                self._post_surely(event)

    def _gather(self) -> None:
        """Make one event of each kind that was read together, in the order of their last ones."""
        if self._from is None:
            return
        connection, process, at = self._from
        for kind, these in self._joining.items():
            message = HookMessage(connection, process, kind, joined(these), at, len(these))
            self._events.append(message)
        self._joining, self._from = {}, None

    def _post_surely(self, event: Event) -> None:
        while not self._post(event):
            if self._closing.wait(_RETRY_SECONDS):
                return
