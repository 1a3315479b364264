"""Sends messages through Apprise, in a thread of its own: mail, chats, pagers, webhooks.

Each target is tried by itself, again after growing pauses, and given up after the last. Nobody
waits for it: `send` puts a message down and returns. A target's URL holds its password and is never
printed, by us or by Apprise; targets are called by their number and their kind.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from yolowatch.edges.clock import Clock
from yolowatch.model.notifications import Message

RETRY_SECONDS = (10.0, 30.0, 120.0, 600.0)
_MOST = 256  # deliveries that wait


@dataclass(order=True)
class _Delivery:
    due: float
    number: int
    message: Message = field(compare=False)
    url: str = field(compare=False, repr=False)
    target: str = field(compare=False)
    tries: int = field(default=0, compare=False)
    arrived: bool = field(default=False, compare=False)


class Notifier:
    """`send` never blocks; `delivered` is called in the thread, for each message once."""

    def __init__(
        self,
        clock: Clock,
        say: Callable[[str], None],
        delivered: Callable[[Message], None] = lambda message: None,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
    ) -> None:
        self._clock, self._say, self._delivered = clock, say, delivered
        self._retry_seconds = tuple(retry_seconds)
        self._numbers = itertools.count()
        self._waiting: list[_Delivery] = []
        self._changed = threading.Condition()
        self._over = False
        self.sent = 0
        self.lost = 0

    def send(self, message: Message, urls: Sequence[str]) -> None:
        """Have it delivered to each of these."""
        now = self._clock.monotonic()
        with self._changed:
            for index, url in enumerate(urls, 1):
                target = f"{index} ({url.partition(':')[0][:20]})"
                delivery = _Delivery(now, next(self._numbers), message, url, target)
                if len(self._waiting) >= _MOST:
                    self.lost += 1
                    continue
                heapq.heappush(self._waiting, delivery)
            self._changed.notify()

    def stop(self) -> None:
        """End the thread after the delivery that is under way."""
        with self._changed:
            self._over = True
            self._changed.notify()

    def work(self) -> None:
        """The body of the thread."""
        while (delivery := self._next()) is not None:
            trouble = self._deliver(delivery)
            if trouble is not None:  # no sooner there by waiting
                self.lost += 1
                self._say(trouble)
            elif delivery.arrived:
                self.sent += 1
                self._delivered(delivery.message)
            else:
                self._again(delivery)

    def _next(self) -> _Delivery | None:
        with self._changed:
            while not self._over:
                now = self._clock.monotonic()
                if self._waiting and self._waiting[0].due <= now:
                    return heapq.heappop(self._waiting)
                self._changed.wait(self._waiting[0].due - now if self._waiting else None)
        return None

    def _again(self, delivery: _Delivery) -> None:
        if delivery.tries >= len(self._retry_seconds):
            self.lost += 1
            self._say(
                f"notification target {delivery.target} did not take a message in "
                f"{delivery.tries + 1} tries and it is given up: check the URL and the service"
            )
            return
        delivery.due = self._clock.monotonic() + self._retry_seconds[delivery.tries]
        delivery.tries += 1
        if delivery.tries == 1:
            self._say(f"notification target {delivery.target} took no message; it is tried again")
        with self._changed:
            heapq.heappush(self._waiting, delivery)

    def _deliver(self, delivery: _Delivery) -> str | None:
        """Try once; the sentence where trying again is of no use."""
        apprise = _apprise()
        if apprise is None:
            return "notifications need Apprise: pip install 'yolowatch[notify]'"
        target = apprise.Apprise()
        if not target.add(delivery.url):
            return f"notification target {delivery.target} is of no form that Apprise knows"
        message = delivery.message
        delivery.arrived = bool(
            target.notify(
                body=message.text,
                title=message.title,
                notify_type=message.weight.value,
                body_format=apprise.NotifyFormat.TEXT,
            )
        )
        return None


def _apprise() -> Any:
    """The package, silenced: it would log URLs. None where it is not installed."""
    try:
        import apprise
    except ImportError:
        return None
    log = logging.getLogger("apprise")
    log.disabled, log.propagate = True, False
    return apprise
