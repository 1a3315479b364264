"""Tables: one row for each subject, one column for each question about it.

Every question is asked of this instant and aggregated to the labels that all of them share; by
these Grafana's own transformation makes one row of them. What a column is called, in which unit it
is and how it is judged stands beside its question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import common, dashboard

from grafana.source.panels import DATASOURCE, Query, Steps, Texts, mappings, target, thresholds


@dataclass(frozen=True)
class Column:
    """One question, `expr`, or a label of the others' answers; without a title it is not shown.

    `label` is what the question's answers are told apart by, where it stands alone.
    """

    title: str
    expr: str | None = None
    unit: str | None = None
    steps: Steps | None = None
    texts: Texts | None = None
    label: str | None = None
    link: str | None = None
    most: float | None = None
    width: int | None = None
    bar: bool = False


def rows(
    title: str,
    description: str,
    columns: Sequence[Column],
    *,
    sort_by: str,
    descending: bool = False,
    width: int = 24,
    height: int = 9,
) -> table.Panel:
    """A table of these columns, in this order."""
    panel = table.Panel().title(title).description(description)
    panel.datasource(DATASOURCE).span(width).height(height).show_header(True)
    panel.cell_height(common.TableCellHeight.SM).align(common.FieldTextAlignment.AUTO)
    panel.sort_by([common_builders.TableSortByFieldState().display_name(sort_by).desc(descending)])
    questions = [column for column in columns if column.expr is not None]
    # Grafana calls the figures of several tables Value #A and so on, and of a single one Value.
    letters = [f" #{chr(ord('A') + number)}" for number in range(len(questions))]
    values = [f"Value{letter}" for letter in letters] if len(questions) > 1 else ["Value"]
    sources = {id(column): value for column, value in zip(questions, values, strict=True)}
    sources |= {id(column): column.label for column in columns if column.label is not None}
    for column in questions:
        panel.with_target(target(Query(column.expr or ""), instant=True))
    shown = [column for column in columns if column.title]
    hidden = [sources[id(column)] for column in columns if not column.title]
    panel.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        dashboard.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": dict.fromkeys(["Time", *hidden], True),
                "includeByName": {},
                "indexByName": {sources[id(each)]: at for at, each in enumerate(shown)},
                "renameByName": {sources[id(each)]: each.title for each in shown},
            },
        )
    )
    for column in shown:
        if properties := _properties(column):
            panel.override_by_name(column.title, properties)
    return panel


def _properties(column: Column) -> list[dashboard.DynamicConfigValue]:
    found: list[tuple[str, Any]] = []
    if column.unit is not None:
        found.append(("unit", column.unit))
    if column.texts is not None:
        found.append(("mappings", mappings(column.texts)))
    if column.steps is not None:
        found.append(("thresholds", thresholds(column.steps).build()))
        found.append(("color", {"mode": "thresholds"}))
    if column.bar:
        found += [("min", 0), ("max", column.most)]
        cell: dict[str, object] = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
        found.append(("custom.cellOptions", cell))
    elif column.texts is not None:
        found.append(("custom.cellOptions", {"type": "color-background", "mode": "basic"}))
    elif column.steps is not None:
        found.append(("custom.cellOptions", {"type": "color-text"}))
    if column.width is not None:
        found.append(("custom.width", column.width))
    if column.link is not None:
        link = {"title": "Open", "url": column.link, "targetBlank": False}
        found.append(("links", [link]))
    return [dashboard.DynamicConfigValue(id_val=name, value=value) for name, value in found]
