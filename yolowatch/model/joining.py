"""Messages of one process that followed each other, as one: near danger there are twenty a second.

A window says what was last, and the least and the most within it, and so does one made of several:
nothing that a decision asks for is lost, and what comes after has a tenth of the work. It works on
decoded messages, before the state knows of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from yolowatch.model.fold import Fields

KINDS = ("sample", "footprints")
_TOGETHER: tuple[tuple[str, Callable[[Iterable[Any]], Any]], ...] = (
    ("seconds", sum),
    ("steps", sum),
    ("allocated_min_bytes", min),
    ("allocated_max_bytes", max),
    ("items", lambda lists: [each for items in lists for each in items]),
)


def joined(messages: Sequence[Fields]) -> Fields:
    """The fields of one message in place of these of one of KINDS, oldest first; what none of them
    says stays unknown.
    """
    if len(messages) == 1:
        return messages[0]
    whole = dict(messages[-1])
    for name, together in _TOGETHER:
        told = [each[name] for each in messages if name in each]
        if told:
            whole[name] = together(told)
    return whole
