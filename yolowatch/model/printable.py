"""Texts from a training made safe to print.

Exception texts, paths and names are written by the training and so are hostile: a terminal would
obey their escape sequences, a right-to-left mark would turn a sentence round.
"""

from __future__ import annotations


def printable(text: str, limit: int = 200) -> str:
    """`text` on one line of at most `limit` characters, what is not plainly visible escaped."""
    shown = " ".join(text.split())
    cut = len(shown) > limit
    if cut:
        shown = shown[: limit - 1]
    shown = escaped(shown)
    if len(shown) > limit or cut:
        shown = shown[: limit - 1].rstrip() + "…"
    return shown


def escaped(text: str) -> str:
    """`text` at its whole length, every blank kept, what is not plainly visible escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )
