"""What one turn of the listener has heard, and in which order it is handed on."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from yolowatch.edges.turn import Turn
from yolowatch.model.events import Event, HookGone, HookMessage
from yolowatch.model.identity import ProcessKey

PROCESS = ProcessKey("boot", 7, 1)
SAMPLE, FOOTPRINTS, EPOCH = "sample", "footprints", "epoch_end"


def handed_on(kinds: Sequence[str], connections: Sequence[int]) -> list[tuple[int, str, int]]:
    """Connection, kind and count of the events that these messages became."""
    events: list[Event] = []

    def post(event: Event) -> bool:
        events.append(event)
        return True

    turn = Turn(post, threading.Event())
    for number, (connection, kind) in enumerate(zip(connections, kinds, strict=True)):
        turn.told(connection, PROCESS, kind, {"items": []}, float(number))
    turn.hear(HookGone(1, PROCESS, 9.0))
    turn.hand_on()
    assert isinstance(events.pop(), HookGone)
    return [(e.connection, e.kind, e.count) for e in events if isinstance(e, HookMessage)]


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ([SAMPLE, FOOTPRINTS] * 3, [(SAMPLE, 3), (FOOTPRINTS, 3)]),
        ([FOOTPRINTS, FOOTPRINTS, SAMPLE], [(FOOTPRINTS, 2), (SAMPLE, 1)]),
        ([SAMPLE, EPOCH, SAMPLE], [(SAMPLE, 1), (EPOCH, 1), (SAMPLE, 1)]),
        ([SAMPLE, FOOTPRINTS, SAMPLE], [(FOOTPRINTS, 1), (SAMPLE, 2)]),
    ],
)
def test_the_last_of_each_kind_says_when(kinds: list[str], told: list[tuple[str, int]]) -> None:
    """What a window decides rests on the footprints that were sent before it."""
    assert handed_on(kinds, [1] * len(kinds)) == [(1, *each) for each in told]


def test_no_other_connection_is_joined() -> None:
    assert handed_on([SAMPLE] * 3, [1, 2, 2]) == [(1, SAMPLE, 1), (2, SAMPLE, 2)]
