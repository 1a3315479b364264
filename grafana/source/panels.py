"""The few kinds of panels that the dashboards are made of, with the settings they all share.

A panel says what it shows in its description, in which unit, and where a reader must judge there
are thresholds. What a panel asks is the dashboards' own business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from grafana_foundation_sdk.builders import bargauge, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus as prometheus_builders
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"
PURPLE, TRANSPARENT, GREY = "purple", "transparent", "text"

Texts: TypeAlias = Mapping[int, tuple[str, str]]
"""Values that are shown as a text in a color."""
Panel: TypeAlias = (
    timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel | statetimeline.Panel
)


@dataclass(frozen=True)
class Query:
    """One question to Prometheus; `legend` names its series, with {{label}} for a label's value."""

    expr: str
    legend: str = "__auto"


@dataclass(frozen=True)
class Style:
    """How the series of a name differ from the others of their panel."""

    name: str
    color: str
    dashed: bool = False
    stacked: bool = True


# The thresholds of a judgement: (color, from this value on); the first has no lower end.
Steps: TypeAlias = Sequence[tuple[str, float | None]]
SHARE_LEFT: Steps = ((RED, None), (ORANGE, 0.05), (YELLOW, 0.1), (GREEN, 0.2))
SHARE_USED: Steps = ((GREEN, None), (YELLOW, 0.8), (ORANGE, 0.9), (RED, 0.95))
PROBABILITY: Steps = ((GREEN, None), (YELLOW, 0.05), (ORANGE, 0.25), (RED, 0.5))
NONE_IS_GOOD: Steps = ((GREEN, None), (RED, 1))
ANY_IS_NOTED: Steps = ((GREEN, None), (YELLOW, 1))
HEAT: Steps = ((GREEN, None), (YELLOW, 75), (ORANGE, 83), (RED, 90))
PLAIN: Steps = ((BLUE, None),)


def target(query: Query, instant: bool) -> prometheus_builders.Dataquery:
    """The question, of this instant as a table, or of the whole time that is shown."""
    made = prometheus_builders.Dataquery().expr(query.expr).legend_format(query.legend)
    made.datasource(DATASOURCE)
    return made.instant().format(PromQueryFormat.TABLE) if instant else made.range()


def thresholds(steps: Steps) -> builders.ThresholdsConfig:
    """From which value on which color."""
    made = [dashboard.Threshold(value=value, color=color) for color, value in steps]
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(made)


def mappings(texts: Texts) -> list[dashboard.ValueMapping]:
    """Values shown as a text in a color."""
    options = {
        str(value): dashboard.ValueMappingResult(text=text, color=color, index=number)
        for number, (value, (text, color)) in enumerate(texts.items())
    }
    return [dashboard.ValueMap(options=options)]


def _by(mode: dashboard.FieldColorModeId) -> builders.FieldColor:
    return builders.FieldColor().mode(mode)


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 12,
    height: int = 8,
    stacked: bool = False,
    bars: bool = False,
    steps: Steps | None = None,
    styles: Sequence[Style] = (),
    most: float | None = None,
    decimals: int | None = None,
) -> timeseries.Panel:
    """Figures over time; with `steps` their thresholds are drawn behind them."""
    panel = timeseries.Panel().title(title).description(description).unit(unit)
    panel.datasource(DATASOURCE).span(width).height(height).min(0)
    panel.line_width(1 if stacked or bars else 2)
    panel.fill_opacity(60 if stacked or bars else 10 if len(queries) == 1 else 0)
    panel.show_points(common.VisibilityMode.NEVER).span_nulls(False)
    panel.draw_style(common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE)
    if stacked or bars:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    panel.color_scheme(_by(dashboard.FieldColorModeId.PALETTE_CLASSIC))
    panel.tooltip(
        common_builders.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )
    panel.legend(
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )
    if most is not None:
        panel.max(most)
    if decimals is not None:
        panel.decimals(decimals)
    if steps is not None:
        panel.thresholds(thresholds(steps))
        drawn = common_builders.GraphThresholdsStyleConfig()
        panel.thresholds_style(drawn.mode(common.GraphThresholdsStyleMode.DASHED))
    for style in styles:
        panel.override_by_regexp(style.name, _properties(style))
    for query in queries:
        panel.with_target(target(query, instant=False))
    return panel


def _properties(style: Style) -> list[dashboard.DynamicConfigValue]:
    color = {"mode": "fixed", "fixedColor": style.color}
    found: list[tuple[str, Any]] = [("color", color)]
    if not style.stacked:
        found += [("custom.stacking", {"mode": "none", "group": "A"}), ("custom.fillOpacity", 0)]
        found += [("custom.lineWidth", 2), ("custom.drawStyle", "line")]
    if style.dashed:
        found.append(("custom.lineStyle", {"fill": "dash", "dash": [10, 6]}))
    return [dashboard.DynamicConfigValue(id_val=name, value=value) for name, value in found]


def figure(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    steps: Steps = PLAIN,
    texts: Texts | None = None,
    width: int = 4,
    height: int = 4,
    sparkline: bool = False,
    decimals: int | None = None,
    none: str = "–",
) -> stat.Panel:
    """One number to be read from afar; `none` stands where nothing is known."""
    panel = stat.Panel().title(title).description(description).unit(unit)
    panel.datasource(DATASOURCE).span(width).height(height).no_value(none)
    panel.thresholds(thresholds(steps)).color_scheme(_by(dashboard.FieldColorModeId.THRESHOLDS))
    panel.color_mode(common.BigValueColorMode.VALUE).text_mode(common.BigValueTextMode.AUTO)
    panel.justify_mode(common.BigValueJustifyMode.AUTO).wide_layout(True)
    panel.graph_mode(common.BigValueGraphMode.AREA if sparkline else common.BigValueGraphMode.NONE)
    panel.reduce_options(
        common_builders.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)
    )
    if texts is not None:
        panel.mappings(mappings(texts))
    if decimals is not None:
        panel.decimals(decimals)
    for query in queries:
        panel.with_target(target(query, instant=False))
    return panel


def gauges(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    steps: Steps,
    width: int = 12,
    height: int = 8,
    most: float | None = None,
    none: str = "–",
) -> bargauge.Panel:
    """The newest of a few figures side by side, as bars."""
    panel = bargauge.Panel().title(title).description(description).unit(unit)
    panel.datasource(DATASOURCE).span(width).height(height).min(0).no_value(none)
    panel.thresholds(thresholds(steps)).color_scheme(_by(dashboard.FieldColorModeId.THRESHOLDS))
    panel.orientation(common.VizOrientation.HORIZONTAL)
    panel.display_mode(common.BarGaugeDisplayMode.BASIC).show_unfilled(True)
    panel.text(common_builders.VizTextDisplayOptions().title_size(13).value_size(15))
    panel.value_mode(common.BarGaugeValueMode.COLOR).sizing(common.BarGaugeSizing.MANUAL)
    panel.min_viz_height(16).max_viz_height(32)
    panel.reduce_options(
        common_builders.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)
    )
    if most is not None:
        panel.max(most)
    for query in queries:
        panel.with_target(target(query, instant=False))
    return panel


def timeline(
    title: str,
    description: str,
    query: Query,
    texts: Texts,
    *,
    width: int = 24,
    height: int = 6,
) -> statetimeline.Panel:
    """Which of a few states held when: a row of colors for each series."""
    panel = statetimeline.Panel().title(title).description(description).unit("none")
    panel.datasource(DATASOURCE).span(width).height(height)
    panel.mappings(mappings(texts)).thresholds(thresholds(PLAIN))
    panel.color_scheme(_by(dashboard.FieldColorModeId.THRESHOLDS))
    panel.merge_values(True).show_value(common.VisibilityMode.AUTO).row_height(0.8)
    panel.fill_opacity(75).line_width(0)
    panel.tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.SINGLE))
    panel.legend(common_builders.VizLegendOptions().show_legend(False))
    return panel.with_target(target(query, instant=False))
