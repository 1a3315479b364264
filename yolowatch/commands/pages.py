"""The receipt as a page for the terminal; colour only where there is one.

Reads the JSON document, so that a receipt of last month and one of a moment ago look the same. All
text in it is made harmless: exception texts, paths and names come from a training.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from yolowatch.model.printable import escaped, printable
from yolowatch.model.quantity import bytes_text

_WIDTH = 96
_LABEL = 14


def receipt(document: Mapping[str, Any], stream: TextIO | None) -> str:
    """The page of one receipt, as `Receipt.to_json` wrote it, for `stream`."""
    bold = _bold(stream)
    plan, costs, verdict = document["plan"], document["costs"], document["verdict"]
    title = f"Receipt {document['incident']} · run {document['run']} · {document['outcome']}"
    lines = ["", bold(printable(title)), "─" * min(len(title), _WIDTH)]
    lines += _entry("cause", verdict["sentence"])
    lines += _list("evidence", verdict["evidence"])
    for lever in document["levers"]:
        change = f"{lever['name']}: {lever['before']} → {lever['after']} ({lever['cost']})"
        lines += _entry("changed", f"{change}. {lever['why']}")
    lines += _entry("effective", _effective(document))
    lines += _entry("image size", _sizes(document["user"], plan["edits"]))
    lines += _entry("memory", _memory(document))
    lines += _entry("reason", plan["reason"])
    lines += _list(
        "rejected", (f"{each['option']}: {each['reason']}" for each in document["rejected"])
    )
    lines += _entry("went on", _resume(document["resume"]))
    lines += _entry("cost", _costs(costs))
    lines += _list("science", document["science"])
    # Whole on one line each, however long: they are copied.
    lines += _lines("files", (_file(each) for each in document["files"]))
    lines += _lines("undo", document["undo"])
    return "\n".join([*lines, ""])


def kept_at(page: Path) -> str:
    """Where the page for a browser is, as a line below a receipt; nothing where there is none."""
    return "".join(f"{line}\n" for line in _lines("page", [str(page)])) if page.exists() else ""


def _effective(document: Mapping[str, Any]) -> str:
    user, plan = document["user"], document["plan"]
    batch = plan["edits"]["batch"]
    effective = plan["effective_batch"]
    if effective is None:  # it failed before the trainer said what it accumulates
        return "unchanged"
    text = f"batch {effective} before and after"
    if batch and effective:
        text += f" ({user['batch']} × {user['accumulate']} → {batch} × {effective // batch})"
    decay = user["effective_weight_decay"]
    return text if decay is None else f"{text}; weight decay {decay:g} before and after"


def _sizes(user: Mapping[str, Any], edits: Mapping[str, Any]) -> str:
    low, high = user["image_size_min"], user["image_size_max"]
    if user["image_size"] is None:
        return "unknown"
    if low is None or high is None or low == high:
        return f"{user['image_size']} px, unchanged"
    ratio = edits.get("multi_scale")  # receipts of earlier versions have none
    change = (
        "unchanged" if ratio is None else f"narrowed to {1 - ratio:.2f} to {1 + ratio:.2f} times"
    )
    return f"{low} to {high} px (multi-scale of {user['image_size']}), {change}"


def _memory(document: Mapping[str, Any]) -> str:
    plan, peak = document["plan"], document["failed_peak_bytes"]
    capacity, predicted = plan["capacity_bytes"], plan["predicted_peak_bytes"]
    parts = []
    if capacity is not None:
        parts.append(f"capacity {bytes_text(capacity)}")
    if peak is not None:
        parts.append(f"highest peak seen {bytes_text(peak)}")
    if predicted is not None:
        margin = f"{plan['margin_ratio']:.0%}"
        parts.append(f"predicted now {bytes_text(predicted)} (kept free: {margin})")
    return ", ".join(parts) or "unknown"


def _resume(resume: Mapping[str, Any]) -> str:
    if resume["start"] == "resume" and resume["epoch"] is not None:
        return f"from the checkpoint of epoch {resume['epoch'] + 1}: {resume['reason']}"
    start = "afresh" if resume["start"] == "resume" else resume["start"]
    return f"{start}: {resume['reason']}"


def _costs(costs: Mapping[str, Any]) -> str:
    parts = [f"{costs['epochs_kept']} epochs kept"]
    if costs["steps_lost"] is not None:
        parts.append(f"{costs['steps_lost']} steps to do again")
    if costs["seconds_lost"] is not None:
        parts.append(f"{costs['seconds_lost']:.1f} s lost in all")
    names = (
        ("exit_seconds", "old process's exit"),
        ("memory_wait_seconds", "wait for memory"),
        ("restart_seconds", "restart"),
    )
    for key, name in names:
        if costs[key] is not None:
            parts.append(f"{name} {costs[key]:.2f} s")
    return ", ".join(parts)


def _file(change: Mapping[str, Any]) -> str:
    before, after = ((change[key] or "absent")[:12] for key in ("before", "after"))
    return f"{change['path']} ({before} → {after})"


def _list(label: str, texts: Iterable[str]) -> list[str]:
    lines: list[str] = []
    for text in texts:
        lines += _entry(label if not lines else "", text)
    return lines


def _lines(label: str, texts: Iterable[str]) -> list[str]:
    return [f"{label if i == 0 else '':<{_LABEL}}{escaped(text)}" for i, text in enumerate(texts)]


def _entry(label: str, text: str) -> list[str]:
    wrapped = textwrap.wrap(printable(text, 2000), _WIDTH - _LABEL, break_on_hyphens=False) or [""]
    return [f"{label if i == 0 else '':<{_LABEL}}{line}" for i, line in enumerate(wrapped)]


def _bold(stream: TextIO | None) -> Callable[[str], str]:
    colour = stream is not None and stream.isatty() and not os.environ.get("NO_COLOR")
    return (lambda text: f"\x1b[1m{text}\x1b[0m") if colour else (lambda text: text)
