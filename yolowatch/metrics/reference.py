"""The reference of all metrics, generated from the one table."""

from __future__ import annotations

from yolowatch.metrics.table import INFO_LABELS, SECTIONS, Metric, Type


def reference_markdown() -> str:
    """The reference as the documentation shows it; ends with a newline."""
    lines = [
        "# Metrics",
        "",
        "Generated from `yolowatch/metrics/table.py`; do not edit. A reading that is not known is",
        "absent: it is never exported as 0.",
    ]
    for title, section in SECTIONS:
        lines += ["", f"## {title}", "", "| Name | Type | Labels | Meaning |", "|---|---|---|---|"]
        lines += [_row(metric) for metric in section]
    return "\n".join(lines) + "\n"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in all_labels(metric)) or "–"
    meaning = metric.help
    if metric.values:
        meaning += " Values: " + ", ".join(f"`{value}`" for value in metric.values) + "."
    return f"| `{metric.name}` | {metric.type.value} | {labels} | {meaning} |"


def all_labels(metric: Metric) -> tuple[str, ...]:
    """Every label that a series of this metric carries."""
    if metric.type is Type.STATE_SET:
        return (*metric.labels, metric.name)
    if metric.type is Type.INFO:
        return (*metric.labels, *INFO_LABELS[metric.name])
    return metric.labels
