"""A snapshot as OTLP's protobuf: the same readings as on the page, through the same table.

Names, labels and values are those of the page, so that a rule or a dashboard finds the same series
whichever way they came. A counter is a monotonic cumulative sum; its start is told truly: what
yolowatch counts of itself began when it did, what is counted elsewhere began at a moment that is
not known, which OTLP writes as the time of its first reading, and a counter that fell has begun
anew since the reading before. Exemplars stay with OpenMetrics: OTLP wants their time, and that is
not known here. Nothing is sent here.
https://opentelemetry.io/docs/specs/otel/metrics/data-model/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

from yolowatch.metrics.reading import Reading
from yolowatch.metrics.render import grouped
from yolowatch.metrics.table import SELF, Metric, Type

if TYPE_CHECKING:  # it is an extra: whoever pushes nothing need not have it
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as Message

SCOPE = "yolowatch"
_UCUM = {"bytes": "By", "seconds": "s", "ratio": "1", "celsius": "Cel", "watts": "W"}
_SECOND = 1_000_000_000

Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Counted:
    """What the counters were when they were read last, each with its start; in nanoseconds."""

    at: int = 0
    counters: Mapping[Series, tuple[int, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One push: `body` is an ExportMetricsServiceRequest, `counted` is for the next one."""

    body: bytes
    counted: Counted


def request(
    found: Iterable[Reading],
    resource: Mapping[str, str | None],
    at: float,
    began_at: float,
    before: Counted = Counted(),
) -> Request:
    """These readings as one push; times are in seconds since 1970 UTC.

    `began_at` is when yolowatch began, `resource` its attributes: one that is not known is left
    out. Raises ImportError where opentelemetry-proto is not installed.
    """
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2

    message = metrics_service_pb2.ExportMetricsServiceRequest()
    of_us = message.resource_metrics.add()
    known = {key: value for key, value in resource.items() if value is not None}
    _put(of_us.resource.attributes, known)
    scope = of_us.scope_metrics.add()
    scope.scope.name = SCOPE
    times = _Times(int(at * _SECOND), int(began_at * _SECOND), before)
    for metric, family in grouped(found):
        added = scope.metrics.add(
            name=metric.name, description=metric.help, unit=_unit(metric.unit)
        )
        _fill(added, metric, family, times)
    return Request(message.SerializeToString(), Counted(times.now, times.counters))


class _Times:
    """When each counter began; `counters` are those that were asked for."""

    def __init__(self, now: int, began: int, before: Counted) -> None:
        self.now, self._began, self._before = now, began, before
        self.counters: dict[Series, tuple[int, float]] = {}

    def start(self, metric: Metric, sample: Sample) -> int:
        if metric in SELF:
            return self._began
        series = (metric.name, tuple(sorted(sample.labels.items())))
        start, last = self._before.counters.get(series, (self.now, sample.value))
        if sample.value < last:
            start = self._before.at
        self.counters[series] = start, sample.value
        return start


def _fill(added: Message, metric: Metric, family: Family, times: _Times) -> None:
    """The family's samples as data points of the kind that the table says."""
    from opentelemetry.proto.metrics.v1 import metrics_pb2

    if metric.type is Type.COUNTER:
        added.sum.is_monotonic = True
        added.sum.aggregation_temporality = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
        for sample in family.samples:
            start = times.start(metric, sample)
            point = added.sum.data_points.add(
                start_time_unix_nano=start, time_unix_nano=times.now, as_double=sample.value
            )
            _put(point.attributes, sample.labels)
    elif metric.type is Type.SUMMARY:  # a count, then its sum
        for count, total in zip(family.samples[::2], family.samples[1::2], strict=True):
            summary = added.summary.data_points.add(
                start_time_unix_nano=times.start(metric, count),
                time_unix_nano=times.now,
                count=int(count.value),
                sum=total.value,
            )
            _put(summary.attributes, count.labels)
    else:
        for sample in family.samples:
            gauge = added.gauge.data_points.add(
                time_unix_nano=times.now, as_double=float(sample.value)
            )
            _put(gauge.attributes, sample.labels)


def _put(attributes: Iterable[KeyValue], labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        attributes.add(key=key).value.string_value = value  # type: ignore[attr-defined]


def _unit(word: str) -> str:
    """As UCUM writes it; what it does not know, such as pixels, is an annotation."""
    return _UCUM.get(word, f"{{{word}}}" if word else "")
