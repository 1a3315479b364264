"""A snapshot as Prometheus reads it: every reading goes through the table.

A reading that is not known is left out. Label values that a training wrote are made printable and
short, and there is a series for each value of a label that is known beforehand, so that a rate over
the first failure is not lost. An answer is bounded: what is too much is left out whole, a run or a
GPU at a time, and counted. Where the format has exemplars (OpenMetrics), counters of incidents
carry the id of the newest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from yolowatch.metrics.of_machine import of_device, of_host, of_self
from yolowatch.metrics.of_runs import of_run
from yolowatch.metrics.reading import Reading
from yolowatch.metrics.snapshot import MetricsSnapshot
from yolowatch.metrics.table import INFO_LABELS, TABLE, Metric, Type, declared
from yolowatch.model.printable import printable

_LABEL_LENGTH = 120
MOST_SERIES = 20_000


@dataclass(frozen=True)
class Page:
    """One answer; `dropped` series were left out of it."""

    content_type: str
    body: bytes
    dropped: int = 0


def content_type(accept: str) -> str:
    """Of the answer to this Accept header, which is one of a few."""
    return choose_encoder(accept)[1]


def render(snapshot: MetricsSnapshot) -> bytes:
    """The text exposition of one snapshot."""
    return page(snapshot).body


def page(snapshot: MetricsSnapshot, accept: str = "", most: int = MOST_SERIES) -> Page:
    """One snapshot in the format that an Accept header asks for, of at most so many series."""
    encode, its_type = choose_encoder(accept)
    found, dropped = bounded(snapshot, most)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families(found)))
    return Page(its_type, encode(registry), dropped)


def readings(snapshot: MetricsSnapshot) -> Iterator[Reading]:
    """All readings of a snapshot that are known."""
    return iter(bounded(snapshot, MOST_SERIES)[0])


def bounded(snapshot: MetricsSnapshot, most: int) -> tuple[list[Reading], int]:
    """What is known, and how many series were left out; yolowatch itself never is."""
    runs = {pid: run.run for run in snapshot.runs for pid in run.pids}
    devices = [of_device(device, runs) for device in snapshot.devices]
    dropped = sum(left_out for _, left_out in devices)
    found = [*of_host(snapshot)]
    groups = [group for group, _ in devices] + [[*of_run(run)] for run in snapshot.runs]
    room = most - sum(each.series for each in (*found, *of_self(snapshot.supervisor)))
    for group in groups:
        series = sum(each.series for each in group)
        if series > room:
            dropped += series
            continue
        room -= series
        found += group
    return [*found, *of_self(snapshot.supervisor, dropped)], dropped


class _Families(Collector):
    def __init__(self, found: list[Family]) -> None:
        self._found = found

    def collect(self) -> Iterator[Family]:
        return iter(self._found)


def families(found: Iterable[Reading]) -> list[Family]:
    """The readings as families; see `grouped`."""
    return [family for _, family in grouped(found)]


def grouped(found: Iterable[Reading]) -> list[tuple[Metric, Family]]:
    """The readings as families, each with what it is, in the table's order.

    Raises UndeclaredMetric for a name, and ValueError for a value or label, that it does not have.
    """
    made: dict[str, Family] = {}
    for reading in found:
        metric = declared(reading.name)
        if len(reading.labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has the labels {metric.labels}")
        if metric.name not in made:
            made[metric.name] = _family(metric)
        _add(made[metric.name], metric, reading)
    return [(metric, made[metric.name]) for metric in TABLE if metric.name in made]


def _family(metric: Metric) -> Family:
    name, text, labels = metric.name, metric.help, metric.labels
    if metric.type is Type.COUNTER:
        return CounterMetricFamily(name, text, labels=labels)
    if metric.type is Type.SUMMARY:
        return SummaryMetricFamily(name, text, labels=labels)
    if metric.type is Type.INFO:
        return InfoMetricFamily(name.removesuffix("_info"), text, labels=labels)
    if metric.type is Type.STATE_SET:
        return StateSetMetricFamily(name, text, labels=labels)
    return GaugeMetricFamily(name, text, labels=labels)


def _add(family: Family, metric: Metric, reading: Reading) -> None:
    labels = [_label(each) for each in reading.labels]
    value = reading.value
    if isinstance(family, SummaryMetricFamily) and isinstance(value, tuple):
        family.add_metric(labels, count_value=value[0], sum_value=value[1])
    elif isinstance(family, InfoMetricFamily) and isinstance(value, Mapping):
        texts = {name: _label(text) for name, text in value.items()}
        if unknown := texts.keys() - set(INFO_LABELS[metric.name]):
            raise ValueError(f"{metric.name} has no label {min(unknown)}")
        family.add_metric(labels, texts)
    elif isinstance(family, StateSetMetricFamily) and isinstance(value, str):
        if value not in metric.values:
            raise ValueError(f"{metric.name} has no state {value}")
        family.add_metric(labels, {each: each == value for each in metric.values})
    elif isinstance(family, CounterMetricFamily) and isinstance(value, (int, float)):
        incident = reading.incident if value else ""
        family.add_metric(labels, value, exemplar=_exemplar(incident))
    elif isinstance(family, GaugeMetricFamily) and isinstance(value, (int, float)):
        family.add_metric(labels, value)
    else:
        raise ValueError(f"{metric.name} is a {metric.type.value}, not {type(value).__name__}")


@lru_cache(maxsize=4096)
def _label(text: str) -> str:
    """Printable and short; the same few are asked for again and again."""
    return printable(text, _LABEL_LENGTH)


def _exemplar(incident: str) -> Exemplar | None:
    # The value is what was added: one incident.
    return Exemplar({"incident": printable(incident, 64)}, 1.0) if incident else None
