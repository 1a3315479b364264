"""What is pushed is what is scraped: each sample of the page, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2
from prometheus_client.parser import text_string_to_metric_families

from tests.metrics.full import FULL, OWN
from tests.otlp_receiver import Labels, labels, samples
from yolowatch.metrics.otlp import Counted, Request, request
from yolowatch.metrics.reading import Reading
from yolowatch.metrics.render import readings, render
from yolowatch.metrics.snapshot import MetricsSnapshot, RunMetrics, SelfMetrics
from yolowatch.metrics.table import SELF, TABLE, Type, UndeclaredMetric
from yolowatch.model.run import RunState

AT, BEGAN = 1_770_000_700.0, 1_770_000_000.0
SECOND = 1_000_000_000
NOTHING = Counted()
BARE = MetricsSnapshot(
    SelfMetrics("0.1.0", "3.11.7"), (RunMetrics("r", "starting", RunState(attempt=0)),)
)
HOSTILE = MetricsSnapshot(OWN, (replace(FULL.runs[0], user="<script>\x1b[31m\n" + "x" * 500),))


def pushed(snapshot: MetricsSnapshot, at: float = AT, before: Counted = NOTHING) -> Request:
    return request(readings(snapshot), {"service.name": "yolowatch"}, at, BEGAN, before)


def message(made: Request) -> ExportMetricsServiceRequest:
    return ExportMetricsServiceRequest.FromString(made.body)


def metrics(made: Request) -> dict[str, Any]:
    (of_us,) = message(made).resource_metrics
    (scope,) = of_us.scope_metrics
    return {each.name: each for each in scope.metrics}


def on_the_page(snapshot: MetricsSnapshot) -> dict[tuple[str, Labels], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(render(snapshot).decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("snapshot", [FULL, BARE, HOSTILE], ids=["full", "bare", "hostile"])
def test_every_sample_of_the_page_is_pushed_and_nothing_else(snapshot: MetricsSnapshot) -> None:
    page = on_the_page(snapshot)
    assert len(page) > 50
    assert samples(message(pushed(snapshot))) == page


def test_names_units_kinds_and_help_are_the_tables() -> None:
    found = metrics(pushed(FULL))
    assert list(found) == [each.name for each in TABLE]
    units = {"": "", "bytes": "By", "seconds": "s", "ratio": "1", "celsius": "Cel", "watts": "W"}
    for each in TABLE:
        told = found[each.name]
        assert told.description == each.help
        assert told.unit == units.get(each.unit, f"{{{each.unit}}}")
        kind = {Type.COUNTER: "sum", Type.SUMMARY: "summary"}.get(each.type, "gauge")
        assert told.WhichOneof("data") == kind, each.name
        if kind == "sum":
            assert told.sum.is_monotonic
            assert (
                told.sum.aggregation_temporality == metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
            )


def test_each_point_is_of_this_moment_and_only_sums_have_a_start() -> None:
    for metric in metrics(pushed(FULL)).values():
        kind = metric.WhichOneof("data")
        for point in getattr(metric, kind).data_points:
            assert point.time_unix_nano == AT * SECOND
            assert bool(point.start_time_unix_nano) == (kind != "gauge"), metric.name


def starts(made: Request, name: str) -> dict[Labels, int]:
    """When each of its counters began, in seconds."""
    return {
        labels(point.attributes): point.start_time_unix_nano // SECOND
        for point in metrics(made)[name].sum.data_points
    }


def test_what_we_count_of_ourselves_began_when_we_did() -> None:
    found = metrics(pushed(FULL))
    for metric in SELF:
        if metric.type in (Type.COUNTER, Type.SUMMARY):
            data = found[metric.name]
            (point,) = (data.sum if metric.type is Type.COUNTER else data.summary).data_points
            assert point.start_time_unix_nano == BEGAN * SECOND


def test_what_is_counted_elsewhere_began_at_a_moment_that_is_not_known() -> None:
    """OTLP writes that as the time of the first reading, which all later ones keep."""
    first = pushed(FULL)
    assert set(starts(first, "yolowatch_run_steps_total").values()) == {AT}
    later = pushed(FULL, AT + 60, first.counted)
    assert set(starts(later, "yolowatch_run_steps_total").values()) == {AT}
    assert set(starts(later, "yolowatch_gpu_xid_errors_total").values()) == {AT}


def test_a_counter_that_fell_has_begun_anew_since_the_reading_before() -> None:
    def with_messages(number: int) -> MetricsSnapshot:
        state = replace(FULL.runs[0].state, messages=number)
        return replace(FULL, runs=(replace(FULL.runs[0], state=state),))

    def of(made: Request) -> int:
        (found,) = starts(made, "yolowatch_hook_messages_total").values()
        return found

    first = pushed(with_messages(50))
    second = pushed(with_messages(70), AT + 60, first.counted)
    third = pushed(with_messages(3), AT + 120, second.counted)
    fourth = pushed(with_messages(3), AT + 180, third.counted)
    assert [of(each) for each in (first, second, third, fourth)] == [AT, AT, AT + 60, AT + 60]
    # The others go on.
    assert set(starts(fourth, "yolowatch_run_steps_total").values()) == {AT}


def test_a_run_that_left_is_forgotten() -> None:
    first = pushed(FULL)
    second = pushed(replace(FULL, runs=(), devices=()), AT + 60, first.counted)
    assert second.counted.counters == {}
    back = pushed(FULL, AT + 120, second.counted)
    assert set(starts(back, "yolowatch_run_steps_total").values()) == {AT + 120}


def test_who_pushes_is_told_as_far_as_it_is_known() -> None:
    made = request(readings(BARE), {"service.name": "yolowatch", "host.name": None}, AT, BEGAN)
    (of_us,) = message(made).resource_metrics
    assert labels(of_us.resource.attributes) == (("service.name", "yolowatch"),)


def test_an_undeclared_metric_raises() -> None:
    with pytest.raises(UndeclaredMetric):
        request([Reading("yolowatch_nothing", (), 1.0)], {}, AT, BEGAN)
