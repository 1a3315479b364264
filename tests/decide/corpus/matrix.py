"""The confusion matrix: what each kind was taken for, as a table for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def matrix(pairs: Iterable[tuple[str, str]]) -> str:
    """Of (what it is, what it was taken for); a line for each kind, in the order of the pairs."""
    counts = Counter(pairs)
    truths = list(dict.fromkeys(truth for truth, _ in counts))
    width = max(map(len, truths))
    lines = []
    for truth in truths:
        taken = {got: n for (kind, got), n in counts.items() if kind == truth}
        right = taken.pop(truth, 0)
        total = right + sum(taken.values())
        wrong = ", ".join(f"{n} as {got}" for got, n in taken.items())
        lines.append(f"{truth:<{width}}  {right:>3} of {total:>3}  {wrong}".rstrip())
    return "\n".join(lines)
