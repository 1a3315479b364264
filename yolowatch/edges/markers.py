"""The mark that an attempt leaves in its run directory just before it is executed.

It is made by `hands.starter`, as the run's user and only where there is none yet: so whatever
happens to a daemon, an attempt is executed once, and its successor finds out which process it is.
"""

from __future__ import annotations

from pathlib import Path

from yolowatch.edges.files import read_bounded
from yolowatch.model.identity import ProcessKey

_MAX_BYTES = 256


def read_marker(path: Path) -> ProcessKey | None:
    """The process that the mark names; None where there is none or it is malformed."""
    try:
        words = read_bounded(path, _MAX_BYTES).decode("ascii").split()
    except (OSError, ValueError):
        return None
    if len(words) != 3 or not (words[1].isdigit() and words[2].isdigit()):
        return None
    return ProcessKey(words[0], int(words[1]), int(words[2]))
