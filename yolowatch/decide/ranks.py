"""One training made of ranks: what its processes said, as the one state that is decided on.

The first rank tells what is trained, what is saved and how far it is; the rank that failed first
tells of the failure and of its memory. That the others lose their peer is an echo and no cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from yolowatch.decide import texts
from yolowatch.model.run import LastWords, Rank, RunState

_TYPES_OF_ECHO = ("DistBackendError", "DistNetworkError", "DistStoreError", "DistQueueEmptyError")
_ECHO = re.compile(
    r"NCCL|gloo|collective|connection (?:closed|reset|refused)|socket ?timeout"
    r"|(?:wait|operation) time(?:d )?-?out|timed out|remote process exited",
    re.IGNORECASE,
)


def is_echo(words: LastWords) -> bool:
    """Whether a rank only says that another one, or the way to it, is gone."""
    if texts.recognise(words.exception, words.text) is not None:
        return False
    kind = words.exception.rpartition(".")[2]
    return kind in _TYPES_OF_ECHO or (kind == "RuntimeError" and bool(_ECHO.search(words.text)))


def first_failed(states: Iterable[RunState]) -> RunState | None:
    """The rank whose last words are the cause: the first, but an echo only where nothing else is
    said.
    """
    failed = [
        (is_echo(state.last_words), state.last_words.at, index, state)
        for index, state in enumerate(states)
        if state.last_words is not None
    ]
    return min(failed, key=lambda each: each[:3])[3] if failed else None


def merged(states: Sequence[RunState]) -> RunState:
    """What the ranks of one attempt said together; there is at least one.

    Footprints and samples are of one rank alone: each has a memory of its own.
    """
    # Of two connections of one rank the later one counts.
    leader = min(reversed(states), key=lambda state: (state.spec is None, _number(state)))
    failed = first_failed(states)
    if failed is None or failed is leader:
        return leader
    return replace(
        leader,
        place=failed.place,
        memory=failed.memory,
        samples=failed.samples,
        footprints=failed.footprints,
        last_words=failed.last_words,
    )


def _number(state: RunState) -> int:
    return state.rank.number if state.rank is not None else 0


def unfit(rank: Rank) -> str | None:
    """Why this group is not to be ended and started again as a whole, or None."""
    if rank.ranks_here is None or rank.max_restarts is None:
        return "its ranks were not started by torchrun, so it is not known how they are started"
    if rank.ranks_here < rank.ranks:
        return (
            f"{rank.ranks - rank.ranks_here} of its {rank.ranks} ranks run on other machines, "
            "which are not watched here"
        )
    if rank.max_restarts > 0:
        return (
            f"its launcher restarts failed ranks by itself (--max-restarts {rank.max_restarts}), "
            "with what has failed; start it without this option"
        )
    return None
