"""One value of one declared metric, and how many series it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from yolowatch.metrics.table import Type, declared

Value = float | tuple[int, float] | Mapping[str, str] | str
"""A number, for a summary (count, sum), else its words: an info's maps label names to texts, a
state set's is the state that holds.
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """`incident` is the id of the newest incident that this counter counts, empty for none."""

    name: str
    labels: tuple[str, ...]
    value: Value
    incident: str = ""

    @property
    def series(self) -> int:
        """How many series it makes."""
        metric = declared(self.name)
        if metric.type is Type.STATE_SET:
            return len(metric.values)
        return 2 if metric.type is Type.SUMMARY else 1


Known = Iterator[tuple[str, tuple[str, ...], float | None]]


def known(prefix: str, found: Known) -> Iterator[Reading]:
    """Those readings whose value is known; `prefix` begins each name."""
    for name, labels, value in found:
        if value is not None:
            yield Reading(prefix + name, labels, value)


def by_value(
    name: str,
    labels: tuple[str, ...],
    counts: Mapping[str, float],
    incidents: Mapping[str, str] | None = None,
) -> Iterator[Reading]:
    """One series a known value of the last label, from the start; an unknown value raises."""
    values = declared(name).values
    if unknown := counts.keys() - set(values):
        raise ValueError(f"{name} has no label value {min(unknown)}")
    named = incidents or {}
    for value in values:
        yield Reading(name, (*labels, value), counts.get(value, 0), named.get(value, ""))
