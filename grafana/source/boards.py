"""What makes panels a dashboard: variables, links, annotations, and the numbers that Grafana wants.

The SDK leaves panels without ids and queries without the letters that tables and alerts refer to;
both are given here, in the order in which the panels stand, so that the same code makes the same
file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard, table

from grafana.source.panels import DATASOURCE, Panel

TAG = "yolowatch"


@dataclass(frozen=True)
class Variable:
    """What a reader chooses above a dashboard: the values of one label."""

    name: str
    label: str
    query: str
    description: str
    several: bool = True


@dataclass(frozen=True)
class Mark:
    """Moments that are marked in every graph: where the expression is above zero."""

    name: str
    expr: str
    color: str
    text: str


INSTANCE = Variable(
    "instance",
    "Box",
    "label_values(yolowatch_build_info, instance)",
    "The daemon that was scraped.",
)


def board(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[Variable],
    rows: Sequence[tuple[str, Sequence[Panel]]],
    marks: Sequence[Mark] = (),
    since: str = "now-3h",
) -> builders.Dashboard:
    """A dashboard of titled rows."""
    made = builders.Dashboard(title).uid(uid).description(description).tags([TAG])
    made.timezone("browser").refresh("30s").time(since, "now").editable()
    made.tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    made.with_variable(_datasource())
    for variable in variables:
        made.with_variable(_query_variable(variable))
    for mark in marks:
        made.annotation(_Annotation(mark))
    made.link(
        builders.DashboardLink("yolowatch")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .keep_time(True)
        .include_vars(True)
        .as_dropdown(False)
        .icon("external link")
    )
    for name, panels in rows:
        made.with_row(builders.Row(name))
        for panel in panels:
            made.with_panel(panel)
    return made


def text_of(made: builders.Dashboard) -> str:
    """The dashboard as the file that Grafana reads; the same for the same code."""
    built = made.build()
    for variable in built.templating.list_val or []:
        # The SDK sets what only an interval has.
        variable.auto = variable.auto_min = variable.auto_count = None
    for number, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number
        targets = getattr(panel, "targets", None) or []
        if isinstance(panel, dashboard.Panel) and isinstance(panel.options, table.Options):
            panel.options.footer = None  # newer releases know it no more
        for letter, target in enumerate(targets):
            target.ref_id = chr(ord("A") + letter)
    return json.dumps(built, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _datasource() -> builders.DatasourceVariable:
    found = builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    return found.description("The Prometheus that scrapes yolowatch.")


def _query_variable(variable: Variable) -> builders.QueryVariable:
    made = builders.QueryVariable(variable.name).label(variable.label)
    made.description(variable.description).datasource(DATASOURCE)
    made.query({"query": variable.query, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
    made.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
    made.sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    made.multi(variable.several).include_all(variable.several)
    if variable.several:
        made.all_value(".*")
        made.current(dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]))
    return made


class _Annotation(builders.AnnotationQuery):
    """The SDK's annotation, with what Grafana's Prometheus source asks for besides."""

    def __init__(self, mark: Mark) -> None:
        super().__init__()
        self._mark = mark
        self.name(mark.name).datasource(DATASOURCE).enable(True).icon_color(mark.color)
        self.expr(mark.expr)

    def build(self) -> dashboard.AnnotationQuery:
        return _Marked(super().build(), self._mark)


class _Marked(dashboard.AnnotationQuery):
    def __init__(self, built: dashboard.AnnotationQuery, mark: Mark) -> None:
        super().__init__(
            name=built.name,
            datasource=built.datasource,
            enable=built.enable,
            hide=built.hide,
            icon_color=built.icon_color,
            built_in=built.built_in,
            expr=built.expr,
        )
        self._mark = mark

    def to_json(self) -> dict[str, Any]:
        words = {"titleFormat": self._mark.name, "textFormat": self._mark.text, "step": "15s"}
        return super().to_json() | words
