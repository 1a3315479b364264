"""A snapshot as Prometheus reads it: every reading goes through the table.

A reading that is not known is left out. Label values that a training wrote are made printable and
short, and there is a series for each value of a label that is known beforehand, so that a rate over
the first failure is not lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
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

from yolowatch.metrics.snapshot import MetricsSnapshot, RunMetrics, SelfMetrics
from yolowatch.metrics.table import INFO_LABELS, TABLE, Metric, Type, declared
from yolowatch.model.printable import printable

_LABEL_LENGTH = 120


@dataclass(frozen=True)
class Reading:
    """One value of one declared metric: a number, for a summary (count, sum), else its words.

    An info's value maps label names to texts; a state set's is the state that holds.
    """

    name: str
    labels: tuple[str, ...]
    value: float | tuple[int, float] | Mapping[str, str] | str


class SnapshotCollector(Collector):
    """Exports whatever snapshot `source` gives at the time of the scrape."""

    def __init__(self, source: Callable[[], MetricsSnapshot]) -> None:
        self._source = source

    def collect(self) -> Iterator[Family]:
        return families(readings(self._source()))


def render(snapshot: MetricsSnapshot) -> bytes:
    """The text exposition of one snapshot."""
    return generate_latest(_registry(snapshot))


def page(snapshot: MetricsSnapshot, accept: str = "") -> tuple[str, bytes]:
    """(content type, body) of one snapshot in the format that an Accept header asks for."""
    encode, content_type = choose_encoder(accept)
    return content_type, encode(_registry(snapshot))


def _registry(snapshot: MetricsSnapshot) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(lambda: snapshot))
    return registry


def families(found: Iterator[Reading]) -> Iterator[Family]:
    """The readings as families in the table's order.

    Raises UndeclaredMetric for a name, and ValueError for a value or label, that it does not have.
    """
    grouped: dict[str, Family] = {}
    for reading in found:
        metric = declared(reading.name)
        if len(reading.labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has the labels {metric.labels}")
        if metric.name not in grouped:
            grouped[metric.name] = _family(metric)
        _add(grouped[metric.name], metric, reading)
    return iter([grouped[metric.name] for metric in TABLE if metric.name in grouped])


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
    labels = [printable(each, _LABEL_LENGTH) for each in reading.labels]
    value = reading.value
    if isinstance(family, SummaryMetricFamily) and isinstance(value, tuple):
        family.add_metric(labels, count_value=value[0], sum_value=value[1])
    elif isinstance(family, InfoMetricFamily) and isinstance(value, Mapping):
        texts = {name: printable(text, _LABEL_LENGTH) for name, text in value.items()}
        if unknown := texts.keys() - set(INFO_LABELS[metric.name]):
            raise ValueError(f"{metric.name} has no label {min(unknown)}")
        family.add_metric(labels, texts)
    elif isinstance(family, StateSetMetricFamily) and isinstance(value, str):
        if value not in metric.values:
            raise ValueError(f"{metric.name} has no state {value}")
        family.add_metric(labels, {each: each == value for each in metric.values})
    elif isinstance(family, (CounterMetricFamily, GaugeMetricFamily)) and isinstance(
        value, (int, float)
    ):
        family.add_metric(labels, value)
    else:
        raise ValueError(f"{metric.name} is a {metric.type.value}, not {type(value).__name__}")


# ---------------------------------------------------------------- from nouns to readings


def readings(snapshot: MetricsSnapshot) -> Iterator[Reading]:
    """All readings of a snapshot that are known."""
    yield from _of_supervisor(snapshot.supervisor)
    for run in snapshot.runs:
        yield from _known(_of_run(run))
        yield from _known(_of_device(run))
        yield from _counted(run)


def _known(found: Iterator[tuple[str, tuple[str, ...], float | None]]) -> Iterator[Reading]:
    for name, labels, value in found:
        if value is not None:
            yield Reading(name, labels, value)


def _of_device(run: RunMetrics) -> Iterator[tuple[str, tuple[str, ...], float | None]]:
    spec, memory = run.state.spec, run.state.memory
    if spec is None or spec.device is None:
        return  # whose memory it is, is not known
    labels = (run.run, spec.device)
    yield "yolowatch_allocated_bytes", labels, memory.allocated_bytes
    yield "yolowatch_reserved_bytes", labels, memory.reserved_bytes
    yield "yolowatch_inactive_split_bytes", labels, memory.inactive_split_bytes
    yield "yolowatch_peak_bytes", labels, memory.peak_bytes
    yield "yolowatch_capacity_bytes", labels, memory.capacity_bytes
    yield "yolowatch_headroom_bytes", labels, memory.headroom_bytes
    yield "yolowatch_allocation_retries_total", labels, memory.retries
    yield "yolowatch_allocation_failures_total", labels, memory.ooms


def _of_run(run: RunMetrics) -> Iterator[tuple[str, tuple[str, ...], float | None]]:
    state, spec, place, labels = run.state, run.state.spec, run.state.place, (run.run,)
    yield "yolowatch_run_epoch", labels, None if place.epoch is None else place.epoch + 1
    yield "yolowatch_run_steps_total", labels, place.step
    sides = [side for side in (place.height, place.width) if side is not None]
    yield "yolowatch_run_image_size_pixels", labels, max(sides, default=None)
    if spec is not None:
        yield "yolowatch_run_epochs", labels, spec.epochs
        yield "yolowatch_run_batch_size", labels, spec.batch
        yield "yolowatch_run_accumulation_steps", labels, spec.accumulate
        yield "yolowatch_run_effective_batch_size", labels, spec.effective_batch
    yield "yolowatch_predicted_peak_bytes", labels, run.predicted_peak_bytes
    yield "yolowatch_attempts_total", labels, run.attempts
    yield "yolowatch_refusals_total", labels, run.refusals
    yield "yolowatch_checkpoints_vaulted_total", labels, run.vaulted
    yield "yolowatch_hook_connected", labels, run.hook_connected
    yield "yolowatch_hook_messages_total", labels, state.messages
    yield "yolowatch_hook_messages_dropped_total", labels, state.dropped
    yield "yolowatch_hook_faults_total", labels, state.faults


def _counted(run: RunMetrics) -> Iterator[Reading]:
    spec = run.state.spec
    facts = {"torch": run.state.torch}
    if spec is not None:
        names = ("trainer", "trainer_version", "model", "task", "precision", "run_dir")
        facts |= {name: getattr(spec, name) for name in names}
    told = {name: text for name, text in facts.items() if text is not None}
    yield Reading("yolowatch_run_info", (run.run,), told)
    yield Reading("yolowatch_run_state", (run.run,), run.phase)
    by_kind = {kind.value: count for kind, count in run.incidents.items()}
    yield from _by_value("yolowatch_incidents_total", run.run, by_kind)
    yield from _by_value("yolowatch_remediations_total", run.run, run.remediations)
    yield from _by_value("yolowatch_remediation_failures_total", run.run, run.remediation_failures)


def _by_value(name: str, run: str, counts: Mapping[str, int]) -> Iterator[Reading]:
    """One series a known value of the label, from the start; a value that is not known raises."""
    known = declared(name).values
    if unknown := counts.keys() - set(known):
        raise ValueError(f"{name} has no label value {min(unknown)}")
    for value in known:
        yield Reading(name, (run, value), counts.get(value, 0))


def _of_supervisor(own: SelfMetrics) -> Iterator[Reading]:
    info = {"version": own.version, "python": own.python}
    yield Reading("yolowatch_build_info", (), info)
    if own.queue_events is not None:
        yield Reading("yolowatch_queue_events", (), own.queue_events)
    yield Reading("yolowatch_queue_dropped_total", (), own.queue_dropped)
    yield Reading("yolowatch_hook_messages_rejected_total", (), own.messages_rejected)
    yield Reading("yolowatch_cycle_duration_seconds", (), (own.cycles, own.cycle_seconds))
    yield Reading("yolowatch_scrape_duration_seconds", (), (own.scrapes, own.scrape_seconds))
    yield Reading("yolowatch_scrape_errors_total", (), own.scrape_errors)
