"""Hooks that have connected and belong to no run yet: what they say is kept until they do.

A process says which training it is soon after it has connected; one that trains nothing never does,
and is only held. What is kept is bounded: samples are left out, since the next one replaces them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from yolowatch.model import events
from yolowatch.model.identity import ProcessKey

_MOST_EVENTS = 64
_MOST_UNASKED = 8  # of one that has not told what it trains: it may be anybody
_REPLACED = ("sample", "footprints")


@dataclass
class Newcomer:
    """One connection; `run_dir` is set once it has told what it trains."""

    connected: events.HookConnected
    heard: list[events.Event] = field(default_factory=list)
    described: bool = False
    run_dir: str | None = None
    rank: bool = False  # its launcher is what would be started again
    gone: bool = False
    asked: bool = False  # whether its adoption is on its way


class Newcomers:
    """All of them, by connection."""

    def __init__(self) -> None:
        self._waiting: dict[int, Newcomer] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, event: events.HookConnected) -> None:
        self._waiting[event.connection] = Newcomer(event)

    def hear(self, event: events.HookMessage | events.HookGone) -> Newcomer | None:
        """Keep what it said; the newcomer, or None where there is none of this connection."""
        newcomer = self._waiting.get(event.connection)
        if newcomer is None:
            return None
        if isinstance(event, events.HookGone):
            newcomer.gone = True
            if not newcomer.described:
                del self._waiting[event.connection]
        elif event.kind == "hello":
            newcomer.rank = event.fields.get("rank", -1) >= 0
        elif event.kind == "run" and "trainer" in event.fields:
            newcomer.described = True
            newcomer.run_dir = event.fields.get("run_dir")
        replaced = isinstance(event, events.HookMessage) and event.kind in _REPLACED
        most = _MOST_EVENTS if newcomer.described else _MOST_UNASKED
        if not replaced and len(newcomer.heard) < most:
            newcomer.heard.append(event)
        return newcomer

    def of(self, process: ProcessKey, launcher: ProcessKey | None = None) -> list[Newcomer]:
        """Those of this process, or of this launcher's ranks."""
        return [
            each
            for each in self._waiting.values()
            if each.connected.process == process
            or (launcher is not None and each.connected.parent == launcher)
        ]

    def take(self, wanted: Callable[[events.HookConnected], bool]) -> list[events.Event]:
        """All events of the wanted ones, which are newcomers no longer."""
        taken = [each for each in self._waiting.values() if wanted(each.connected)]
        heard: list[events.Event] = []
        for newcomer in taken:
            del self._waiting[newcomer.connected.connection]
            heard += [newcomer.connected, *newcomer.heard]
        return heard
