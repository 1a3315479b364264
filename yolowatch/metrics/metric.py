"""What a metric is: its name, type, meaning, labels and the values of a label that are known.

The noun only; which metrics there are is said by the table and its sections.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Type(str, Enum):
    """The Prometheus types in use; the value is what the reference prints."""

    GAUGE = "gauge"
    COUNTER = "counter"
    SUMMARY = "summary"
    INFO = "info"
    STATE_SET = "state set"


@dataclass(frozen=True)
class Metric:
    """One family. `values` are the known values of its last label, exported from the start."""

    name: str
    type: Type
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    values: tuple[str, ...] = ()


def gauge(
    name: str,
    text: str,
    labels: tuple[str, ...] = (),
    unit: str = "",
    values: tuple[str, ...] = (),
) -> Metric:
    """What may rise and fall."""
    return Metric(f"yolowatch_{name}", Type.GAUGE, text, labels, unit, values)


def counter(
    name: str, text: str, labels: tuple[str, ...] = (), values: tuple[str, ...] = ()
) -> Metric:
    """What only rises, until whoever counts begins anew; the suffix is added."""
    return Metric(f"yolowatch_{name}_total", Type.COUNTER, text, labels, values=values)
