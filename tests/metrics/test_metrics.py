"""Every metric is declared once, exported truly, and as Prometheus wants it."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tests.model.test_fold import folded
from yolowatch.metrics.reference import all_labels, reference_markdown
from yolowatch.metrics.render import Reading, families, page, readings, render
from yolowatch.metrics.snapshot import MetricsSnapshot, RunMetrics, SelfMetrics
from yolowatch.metrics.table import (
    INFO_LABELS,
    RUN_STATES,
    TABLE,
    Type,
    UndeclaredMetric,
    declared,
)
from yolowatch.model.run import Memory, RunSpec, RunState
from yolowatch.model.verdict import Kind

GOLDEN = Path(__file__).with_name("golden.prom")

OWN = SelfMetrics(
    version="0.1.0",
    python="3.11.7",
    queue_events=2,
    queue_dropped=0,
    messages_rejected=1,
    cycles=120,
    cycle_seconds=0.25,
    scrapes=4,
    scrape_seconds=0.125,
    scrape_errors=0,
)
FULL = MetricsSnapshot(
    OWN,
    (
        RunMetrics(
            run="20261121-2307-train",
            phase="training",
            state=folded(
                ("hello", {"pid": 7, "torch": "2.15.0"}),
                (
                    "run",
                    {
                        "trainer": "ultralytics",
                        "trainer_version": "8.4.190",
                        "model": "yolo11n.pt",
                        "task": "detect",
                        "precision": "fp16",
                        "run_dir": "/runs/train",
                        "device": "cuda:0",
                        "batch": 8,
                        "accumulate": 8,
                        "epochs": 100,
                    },
                ),
                (
                    "sample",
                    {
                        "phase": "backward",
                        "epoch": 11,
                        "step": 5400,
                        "batch": 8,
                        "height": 640,
                        "width": 512,
                        "allocated_bytes": 9 << 30,
                        "reserved_bytes": 11 << 30,
                        "inactive_split_bytes": 1 << 28,
                        "peak_bytes": 12 << 30,
                        "capacity_bytes": 23 << 30,
                        "retries": 1,
                        "ooms": 2,
                        "dropped": 3,
                        "faults": 0,
                    },
                ),
            ),
            hook_connected=True,
            attempts=2,
            incidents={Kind.CUDA_OOM: 1},
            remediations={"batch": 1},
            vaulted=11,
            predicted_peak_bytes=13 << 30,
        ),
    ),
)


def exported(snapshot: MetricsSnapshot) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(render(snapshot).decode())
        for sample in family.samples
    }


def named(snapshot: MetricsSnapshot, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    return {labels: value for (each, labels), value in exported(snapshot).items() if each == name}


def test_the_exposition_is_the_golden_one() -> None:
    assert render(FULL).decode() == GOLDEN.read_text()


def test_promtool_has_nothing_to_say(promtool: Path) -> None:
    done = subprocess.run(
        [promtool, "check", "metrics"], input=render(FULL), capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_full_snapshot_exports_every_declared_metric() -> None:
    assert {reading.name for reading in readings(FULL)} == {each.name for each in TABLE}


def test_series_have_the_labels_that_the_table_names() -> None:
    for family in families(readings(FULL)):
        names = (family.name, family.name + "_total", family.name + "_info")
        metric = next(each for each in TABLE if each.name in names)
        for sample in family.samples:
            assert set(sample.labels) <= set(all_labels(metric))


def test_unknown_is_absent_and_never_zero() -> None:
    bare = MetricsSnapshot(
        SelfMetrics("0.1.0", "3.11.7"), (RunMetrics("r", "starting", RunState(attempt=0)),)
    )
    names = {name for name, _ in exported(bare)}
    assert "yolowatch_allocated_bytes" not in names
    assert "yolowatch_run_epoch" not in names
    assert "yolowatch_hook_connected" not in names
    assert "yolowatch_queue_events" not in names
    assert "yolowatch_predicted_peak_bytes" not in names
    # What is counted here is known to be none.
    assert named(bare, "yolowatch_attempts_total") == {(("run", "r"),): 0.0}


def test_memory_of_an_unknown_device_is_absent() -> None:
    state = RunState(attempt=0, spec=RunSpec("ultralytics"), memory=Memory(allocated_bytes=5))
    snapshot = MetricsSnapshot(OWN, (RunMetrics("r", "training", state),))
    assert named(snapshot, "yolowatch_allocated_bytes") == {}


def test_known_label_values_are_there_from_the_start() -> None:
    quiet = MetricsSnapshot(OWN, (RunMetrics("r", "training", RunState(attempt=0)),))
    incidents = named(quiet, "yolowatch_incidents_total")
    kinds = {dict(labels)["kind"] for labels in incidents}
    assert kinds == {kind.value for kind in Kind if kind.is_incident}
    assert {"cuda-oom", "neighbour", "leak", "device-fault", "killed", "error"} < kinds
    assert set(incidents.values()) == {0.0}
    assert len(named(quiet, "yolowatch_remediations_total")) == 1
    assert len(named(quiet, "yolowatch_remediation_failures_total")) == 1


def test_exactly_one_state_holds() -> None:
    for phase in RUN_STATES:
        one = replace(FULL.runs[0], phase=phase)
        states = named(MetricsSnapshot(OWN, (one,)), "yolowatch_run_state")
        assert len(states) == len(RUN_STATES)
        (holding,) = (dict(labels) for labels, value in states.items() if value == 1.0)
        assert holding["yolowatch_run_state"] == phase


def test_epochs_are_counted_as_the_trainers_print_them() -> None:
    assert set(named(FULL, "yolowatch_run_epoch").values()) == {12.0}
    assert set(named(FULL, "yolowatch_run_image_size_pixels").values()) == {640.0}
    assert set(named(FULL, "yolowatch_headroom_bytes").values()) == {float(14 << 30)}


@pytest.mark.parametrize(
    ("reading", "error"),
    [
        (Reading("yolowatch_mood", (), 1.0), UndeclaredMetric),
        (Reading("yolowatch_run_epoch", (), 1.0), ValueError),
        (Reading("yolowatch_run_epoch", ("r", "extra"), 1.0), ValueError),
        (Reading("yolowatch_run_epoch", ("r",), "twelve"), ValueError),
        (Reading("yolowatch_run_state", ("r",), "dreaming"), ValueError),
        (Reading("yolowatch_run_info", ("r",), {"colour": "red"}), ValueError),
        (Reading("yolowatch_scrape_duration_seconds", (), 1.0), ValueError),
    ],
)
def test_what_is_not_declared_raises(reading: Reading, error: type[Exception]) -> None:
    with pytest.raises(error):
        list(families(iter([reading])))


def test_an_unknown_label_value_raises() -> None:
    odd = replace(FULL.runs[0], remediations={"prayer": 1})
    with pytest.raises(ValueError, match="no label value prayer"):
        render(MetricsSnapshot(OWN, (odd,)))
    odd = replace(FULL.runs[0], incidents={Kind.FINISHED: 1})
    with pytest.raises(ValueError, match="no label value finished"):
        render(MetricsSnapshot(OWN, (odd,)))


@given(st.text(max_size=300), st.text(max_size=300))
def test_hostile_label_values_stay_one_label(run: str, model: str) -> None:
    spec = RunSpec("ultralytics", model=model, device="cpu")
    state = RunState(attempt=0, spec=spec, memory=Memory(allocated_bytes=1))
    text = render(MetricsSnapshot(OWN, (RunMetrics(run, "training", state),))).decode()
    (line,) = (each for each in text.split("\n") if each.startswith("yolowatch_allocated_bytes{"))
    assert line.endswith("} 1.0")
    assert line.isprintable()
    assert len(line) < 600


def test_pages_are_in_the_format_that_is_asked_for() -> None:
    content_type, body = page(FULL)
    assert content_type.startswith("text/plain")
    assert body == render(FULL)
    content_type, body = page(FULL, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


# ---------------------------------------------------------------- the table itself


def test_names_follow_the_conventions_of_prometheus() -> None:
    names = [each.name for each in TABLE]
    assert len(set(names)) == len(names)
    for each in TABLE:
        assert re.fullmatch(r"yolowatch(_[a-z]+)+", each.name)
        assert (each.type is Type.COUNTER) == each.name.endswith("_total")
        assert (each.type is Type.INFO) == each.name.endswith("_info")
        assert (each.name in INFO_LABELS) == (each.type is Type.INFO)
        if each.unit:
            assert each.name.endswith(f"_{each.unit}")
        assert each.help.endswith(".")
        assert "usage" not in each.help
        assert declared(each.name) is each


def test_the_reference_names_every_metric_with_its_labels() -> None:
    reference = reference_markdown()
    rows = [line for line in reference.splitlines() if line.startswith("| `yolowatch_")]
    assert len(rows) == len(TABLE)
    for row, metric in zip(rows, TABLE, strict=True):
        assert row.startswith(f"| `{metric.name}` | {metric.type.value} |")
        assert all(f"`{label}`" in row for label in all_labels(metric))
        assert row.count("|") == 5
    assert reference.endswith("|\n")


def test_the_table_can_be_read_by_machines() -> None:
    listed = json.loads(json.dumps([asdict(each) for each in TABLE]))
    assert listed[0]["type"] == "gauge"
