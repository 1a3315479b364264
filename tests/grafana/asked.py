"""What the dashboards ask Prometheus, read from the files that Grafana is given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "grafana" / "dashboards"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))
VARIABLE = re.compile(r"\$(?!\d)(?:\{(\w+)[^}]*\}|(\w+))")
METRIC = re.compile(r"\byolowatch_\w+")


@dataclass(frozen=True)
class Question:
    """One query of a panel or an annotation; `instant` asks for this moment only."""

    board: str
    panel: str
    letter: str
    expr: str
    instant: bool

    def __str__(self) -> str:
        return f"{self.board} / {self.panel} / {self.letter}: {self.expr}"


def board(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def panels(name: str) -> list[dict[str, Any]]:
    """The panels of a dashboard that ask anything."""
    return [panel for panel in board(name)["panels"] if panel["type"] != "row"]


def questions(name: str) -> Iterator[Question]:
    """Every query of a dashboard's panels, then of its annotations."""
    for panel in panels(name):
        for target in panel["targets"]:
            instant = target.get("instant", False)
            yield Question(name, panel["title"], target["refId"], target["expr"], instant)
    for mark in board(name)["annotations"].get("list", []):
        yield Question(name, "annotation", mark["name"], mark["expr"], False)


def with_values(expr: str, values: Mapping[str, str]) -> str:
    """The expression with Grafana's variables replaced; KeyError for one without a value."""
    return VARIABLE.sub(lambda found: values[found.group(1) or found.group(2)], expr)
