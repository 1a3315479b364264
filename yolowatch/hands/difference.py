"""What was changed in a text file, as lines a person reads.

Made where both contents are at hand, which is with the rights of the file's owner; what is kept of
a change everywhere else are its hashes. Bounded, because the files are a training's.
"""

from __future__ import annotations

import difflib

MAX_BYTES = 256 << 10  # of a file that is compared line by line
MAX_CHARACTERS = 4000
_MAX_LINE = 160
_MAX_LINES = 60
_CONTEXT = 1


def difference(before: bytes, after: bytes) -> str | None:
    """A unified diff without its head; None for what is no text, or too long to compare."""
    if max(len(before), len(after)) > MAX_BYTES:
        return None
    try:
        old, new = before.decode().splitlines(), after.decode().splitlines()
    except UnicodeDecodeError:
        return None
    # What is equal at both ends is most of it, and is not searched: the search may be quadratic.
    head = _equal(old, new)
    tail = _equal(old[head:][::-1], new[head:][::-1])
    first = max(head - _CONTEXT, 0)
    keep = max(tail - _CONTEXT, 0)
    old, new = old[first : len(old) - keep], new[first : len(new) - keep]
    if max(len(old), len(new)) > 2000:
        return None
    lines = list(difflib.unified_diff(old, new, n=_CONTEXT, lineterm=""))[2:]
    shown = [line if len(line) <= _MAX_LINE else f"{line[: _MAX_LINE - 1]}…" for line in lines]
    shown = [_moved(line, first) if line.startswith("@@") else line for line in shown]
    if len(shown) > _MAX_LINES:
        shown = [*shown[:_MAX_LINES], f"… {len(shown) - _MAX_LINES} more lines"]
    return "\n".join(shown)[:MAX_CHARACTERS]


def _equal(old: list[str], new: list[str]) -> int:
    """How many lines are equal from the beginning."""
    number = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        number += 1
    return number


def _moved(line: str, by: int) -> str:
    """The head of a hunk, with its line's number in the whole file alone."""
    number = line.split(" ")[1].lstrip("-").partition(",")[0]
    return f"@@ line {int(number) + by} @@"
