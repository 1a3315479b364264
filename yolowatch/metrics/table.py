"""The one table of metrics: what is exported, what it means, under which labels.

Everything else follows it: `render` can export nothing that is not declared here, the reference is
generated from it, and dashboards and rules are checked against it. A name is part of the public
interface: renaming one breaks somebody's alert. The sections stand in modules of their own.
"""

from __future__ import annotations

from yolowatch.metrics.metric import Metric, Type
from yolowatch.metrics.table_devices import DEVICES, ECC_KINDS, GPU_INFO
from yolowatch.metrics.table_remedies import INCIDENT_KINDS, LEVERS, LIVE_LEVERS, OUTCOMES, REMEDIES
from yolowatch.metrics.table_runs import (
    ALLOCATOR,
    FORECAST,
    HOOK,
    HOST,
    RUN_INFO,
    RUN_STATES,
    RUNS,
    WINDOW_SECONDS,
)
from yolowatch.metrics.table_self import BUILD_INFO, EDGES, SELF

__all__ = [
    "ECC_KINDS",
    "EDGES",
    "INCIDENT_KINDS",
    "INFO_LABELS",
    "LEVERS",
    "LIVE_LEVERS",
    "OUTCOMES",
    "RUN_STATES",
    "SECTIONS",
    "SELF",
    "TABLE",
    "WINDOW_SECONDS",
    "Metric",
    "Type",
    "UndeclaredMetric",
    "declared",
]


class UndeclaredMetric(LookupError):
    """A metric that the table does not name: a mistake of the program, not of its user."""


INFO_LABELS = {
    "yolowatch_run_info": RUN_INFO,
    "yolowatch_gpu_info": GPU_INFO,
    "yolowatch_build_info": BUILD_INFO,
}
"""The labels of an info, beside those that name its subject."""

SECTIONS: tuple[tuple[str, tuple[Metric, ...]], ...] = (
    ("Allocator", ALLOCATOR),
    ("Run", RUNS),
    ("Forecast", FORECAST),
    ("Incidents and remedies", REMEDIES),
    ("GPU", DEVICES),
    ("Host", HOST),
    ("Hook", HOOK),
    ("Supervisor", SELF),
)
TABLE: tuple[Metric, ...] = tuple(each for _, section in SECTIONS for each in section)
_BY_NAME = {each.name: each for each in TABLE}


def declared(name: str) -> Metric:
    """The metric of this name; raises UndeclaredMetric."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UndeclaredMetric(f"{name} is not in yolowatch/metrics/table.py") from None
