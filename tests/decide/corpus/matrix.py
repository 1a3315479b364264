"""The confusion matrix: what each kind was taken for, as a table for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from yolowatch.model.verdict import Kind


def matrix(pairs: Iterable[tuple[Kind, Kind]]) -> str:
    """Of (what it is, what it was taken for); a line for each kind that there is a case of."""
    counts = Counter(pairs)
    truths = [kind for kind in Kind if any(truth is kind for truth, _ in counts)]
    width = max(len(kind.value) for kind in truths)
    lines = []
    for truth in truths:
        taken = {got: n for (kind, got), n in counts.items() if kind is truth}
        right = taken.pop(truth, 0)
        total = right + sum(taken.values())
        wrong = ", ".join(f"{n} as {got.value}" for got, n in taken.items())
        lines.append(f"{truth.value:<{width}}  {right:>3} of {total:>3}  {wrong}".rstrip())
    return "\n".join(lines)
