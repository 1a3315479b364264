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
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from tests.metrics.full import FULL, OWN
from tests.model.test_fold import folded
from yolowatch.decide.prevent import LEAVE_LEVER, RELEASED_LEVER
from yolowatch.metrics.of_machine import MOST_PROCESSES
from yolowatch.metrics.reading import Reading
from yolowatch.metrics.reference import all_labels, reference_markdown
from yolowatch.metrics.render import families, page, readings, render
from yolowatch.metrics.snapshot import MetricsSnapshot, RunMetrics, SelfMetrics
from yolowatch.metrics.table import (
    INCIDENT_KINDS,
    INFO_LABELS,
    LEVERS,
    LIVE_LEVERS,
    RUN_STATES,
    TABLE,
    Type,
    UndeclaredMetric,
    declared,
)
from yolowatch.model.device import DeviceReading, DeviceUser
from yolowatch.model.opt_in import OPT_IN
from yolowatch.model.plan import Policy
from yolowatch.model.run import Memory, RunSpec, RunState

GOLDEN = Path(__file__).with_name("golden.prom")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def exported(snapshot: MetricsSnapshot) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(render(snapshot).decode())
        for sample in family.samples
    }


def named(snapshot: MetricsSnapshot, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    return {labels: value for (each, labels), value in exported(snapshot).items() if each == name}


def test_the_exposition_is_the_golden_one() -> None:
    """`python -m tests.metrics.full > tests/metrics/golden.prom` makes it anew."""
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


def test_memory_of_a_process_that_is_gone_is_nobodys() -> None:
    gone = MetricsSnapshot(OWN, (replace(FULL.runs[0], alive=False),))
    names = {name for name, _ in exported(gone)}
    assert not {each for each in names if re.match(r"yolowatch_(allocat|reserved|peak|head)", each)}
    assert {"yolowatch_run_epoch", "yolowatch_incidents_total"} <= names


def test_memory_of_an_unknown_device_is_absent() -> None:
    state = RunState(attempt=0, spec=RunSpec("ultralytics"), memory=Memory(allocated_bytes=5))
    snapshot = MetricsSnapshot(OWN, (RunMetrics("r", "training", state),))
    assert named(snapshot, "yolowatch_allocated_bytes") == {}


def test_known_label_values_are_there_from_the_start() -> None:
    quiet = MetricsSnapshot(OWN, (RunMetrics("r", "training", RunState(attempt=0)),))
    incidents = named(quiet, "yolowatch_incidents_total")
    kinds = {dict(labels)["kind"] for labels in incidents}
    assert {"cuda-oom", "cpu-oom", "host-oom", "handled-oom", "killed", "error"} <= kinds
    assert kinds == set(INCIDENT_KINDS)
    assert set(incidents.values()) == {0.0}
    for name in ("yolowatch_remediations_total", "yolowatch_remediation_failures_total"):
        levers = {dict(labels)["lever"] for labels in named(quiet, name)}
        assert levers == {*Policy().levers, *OPT_IN, "other"} == set(LEVERS)


def test_every_lever_that_is_named_anywhere_has_its_series() -> None:
    """What the table did not know would be counted as "other"."""
    package = Path(__file__).resolve().parents[2] / "yolowatch"
    used = re.compile(r'LeverUse\(\s*(?:name=)?("[^"]+"|[A-Z_]+_LEVER)')
    named = {name for path in package.rglob("*.py") for name in used.findall(path.read_text())}
    constants = {LEAVE_LEVER, RELEASED_LEVER}
    texts = {name.strip('"') for name in named if name.startswith('"')}
    assert {name for name in named if not name.startswith('"')} == {"LEAVE_LEVER", "RELEASED_LEVER"}
    assert len(texts) >= 10
    assert texts | constants <= {*LEVERS, *LIVE_LEVERS}
    assert constants <= set(LIVE_LEVERS)


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
    odd = replace(FULL.runs[0], incidents={"finished": 1})
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
    plain = page(FULL)
    assert plain.content_type.startswith("text/plain")
    assert plain.body == render(FULL)
    assert b"8f3a" not in plain.body, "this format has no exemplars"
    modern = page(FULL, OPENMETRICS)
    assert modern.content_type.startswith("application/openmetrics-text")
    assert modern.body.endswith(b"# EOF\n")


def test_counters_of_incidents_carry_the_newest_where_the_format_allows() -> None:
    found = {}
    for family in openmetrics_families(page(FULL, OPENMETRICS).body.decode()):
        for sample in family.samples:
            if sample.exemplar is not None:
                labels = tuple(sorted(sample.labels.items()))
                found[sample.name, labels] = sample.exemplar.labels
    run = ("run", FULL.runs[0].run)
    assert found == {
        ("yolowatch_incidents_total", (("kind", "cuda-oom"), run)): {"incident": "8f3a1c00"},
        ("yolowatch_incidents_closed_total", (("outcome", "healed"), run)): {
            "incident": "8f3a1c00"
        },
        ("yolowatch_remediations_total", (("lever", "batch"), run)): {"incident": "8f3a1c00"},
    }


# ---------------------------------------------------------------- bounds


def test_an_answer_is_bounded_and_says_what_it_left_out() -> None:
    many = replace(
        FULL, runs=tuple(replace(FULL.runs[0], run=f"run{i}", pids=frozenset()) for i in range(20))
    )
    all_of_it = page(many)
    assert all_of_it.dropped == 0
    of_one = sum(b'run="run7"' in line for line in all_of_it.body.splitlines())
    whole = sum(not line.startswith(b"#") for line in all_of_it.body.splitlines())
    bound = whole - 3 * of_one + 1
    short = page(many, most=bound)
    lines = short.body.splitlines()
    assert sum(not line.startswith(b"#") for line in lines) <= bound
    assert short.dropped == 3 * of_one
    assert f"yolowatch_series_dropped_total {short.dropped}.0".encode() in lines
    kept = {i for i in range(20) if f'_run_epoch{{run="run{i}"'.encode() in short.body}
    assert kept == set(range(17)), "the first matter most, and each is there whole or not at all"


def test_whatever_is_left_out_yolowatch_itself_is_there() -> None:
    body = page(FULL, most=0).body.decode()
    assert "yolowatch_build_info{" in body
    assert "yolowatch_allocated_bytes{" not in body


def test_a_gpu_shared_by_hundreds_shows_those_that_hold_the_most() -> None:
    users = tuple(DeviceUser(pid, pid << 20, 1000, "ann") for pid in range(1, 301))
    snapshot = MetricsSnapshot(OWN, devices=(DeviceReading(0, users=users),))
    shown = named(snapshot, "yolowatch_gpu_process_bytes")
    assert {int(dict(labels)["pid"]) for labels in shown} == set(range(301 - MOST_PROCESSES, 301))
    assert set(named(snapshot, "yolowatch_gpu_processes").values()) == {300.0}
    assert page(snapshot).dropped == 300 - MOST_PROCESSES


def test_a_process_in_several_parts_of_a_gpu_is_one_series() -> None:
    parts = (DeviceUser(7, 5), DeviceUser(7, 6), DeviceUser(8, None))
    snapshot = MetricsSnapshot(OWN, devices=(DeviceReading(0, users=parts),))
    assert list(named(snapshot, "yolowatch_gpu_process_bytes").values()) == [11.0]


def test_whose_a_process_is() -> None:
    shown = named(FULL, "yolowatch_gpu_process_bytes")
    by_pid = {dict(labels)["pid"]: dict(labels) for labels in shown}
    assert (by_pid["7"]["user"], by_pid["7"]["run"]) == ("ann", FULL.runs[0].run)
    assert (by_pid["99"]["user"], by_pid["99"]["run"]) == ("1001", "")


def test_each_rank_has_a_memory_of_its_own() -> None:
    hello = {"pid": 7, "rank": 0, "world_size": 2}
    spec = {"trainer": "yolov5", "device": "cpu"}
    ranks = tuple(
        folded(
            ("hello", hello | {"rank": rank}),
            ("run", spec),
            ("sample", {"phase": "data", "allocated_bytes": 10 + rank}),
        )
        for rank in (0, 1, 1)
    )
    run = RunMetrics("r", "training", ranks[0], ranks=ranks)
    shown = named(MetricsSnapshot(OWN, (run,)), "yolowatch_allocated_bytes")
    assert {(dict(labels)["rank"], value) for labels, value in shown.items()} == {
        ("0", 10.0),
        ("1", 11.0),
    }


def test_a_step_s_time_is_that_of_the_windows_in_which_steps_ended() -> None:
    windows = [
        (
            "sample",
            {"phase": "data", "seconds": seconds, "steps": steps, "allocated_max_bytes": top},
        )
        for seconds, steps, top in ((1.0, 4, 700), (1.0, 0, 900), (2.0, 4, 800))
    ]
    state = folded(("run", {"trainer": "yolov5", "device": "cpu"}), *windows)
    snapshot = MetricsSnapshot(OWN, (RunMetrics("r", "training", state),))
    assert list(named(snapshot, "yolowatch_run_step_seconds").values()) == [0.5]
    assert list(named(snapshot, "yolowatch_window_peak_bytes").values()) == [900.0]
    none = folded(("sample", {"phase": "data", "seconds": 1.0, "steps": 0}))
    quiet = MetricsSnapshot(OWN, (RunMetrics("r", "training", none),))
    assert named(quiet, "yolowatch_run_step_seconds") == {}


@pytest.mark.parametrize(
    "device", [DeviceReading(0, answers=False), DeviceReading(0, uuid="u", users=None)]
)
def test_what_a_gpu_does_not_tell_is_absent(device: DeviceReading) -> None:
    snapshot = MetricsSnapshot(OWN, devices=(device,), nvml_up=True)
    names = {name for name, _ in exported(snapshot) if name.startswith("yolowatch_gpu")}
    assert names <= {"yolowatch_gpu_up", "yolowatch_gpu_info"}
    assert list(named(snapshot, "yolowatch_gpu_up").values()) == [float(device.answers)]


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
