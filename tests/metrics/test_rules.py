"""The rules are what they say: checked by Prometheus' own tools, and every name in them exists."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import environments
from yolowatch.metrics.table import TABLE, Type

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "grafana" / "rules"
RUNBOOKS = ROOT / "docs" / "runbooks.md"
CASES = Path(__file__).with_name("rules") / "alerts_test.yml"
ALERTMANAGER = ROOT / "grafana" / "alertmanager.yml"

NAME = re.compile(r"\b(?:[a-z]+:)?yolowatch_[a-z0-9_]+(?::[a-z0-9]+)?\b")


def rules(name: str) -> list[dict[str, Any]]:
    document = yaml.safe_load((RULES / f"{name}.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


ALERTS = rules("alerts")
RECORDED = {rule["record"] for rule in rules("recording")}
NAMES = [alert["alert"] for alert in ALERTS]


@pytest.fixture(scope="session")
def amtool() -> Path:
    return environments.debian_tool("prometheus-alertmanager", "amtool")


def told(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.strip() == ""
    return done.stdout


def test_promtool_accepts_the_rules_without_a_word_more(promtool: Path) -> None:
    output = told(promtool, "check", "rules", *sorted(RULES.glob("*.yml")))
    lines = [line for line in output.splitlines() if line.strip()]
    assert [
        line for line in lines if not re.match(r"Checking |  SUCCESS: \d+ rules found", line)
    ] == []


def test_every_alert_fires_and_stays_silent_as_it_should(promtool: Path) -> None:
    done = subprocess.run(
        [promtool, "test", "rules", CASES], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_of_each_kind() -> None:
    cases = [
        case
        for test in yaml.safe_load(CASES.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    firing = {case["alertname"] for case in cases if case["exp_alerts"]}
    silent = {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert firing == silent == set(NAMES)


def test_a_case_that_is_wrong_is_seen(promtool: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(CASES.read_text())
    document["tests"] = document["tests"][:1]
    document["rule_files"] = [str(path) for path in sorted(RULES.glob("*.yml"))]
    case = document["tests"][0]["alert_rule_test"][0]
    assert case["exp_alerts"], "the first case is one that fires"
    case["exp_alerts"] = []
    planted = tmp_path / "planted.yml"
    planted.write_text(yaml.safe_dump(document))
    done = subprocess.run([promtool, "test", "rules", planted], capture_output=True, check=False)
    assert done.returncode != 0


def test_alerts_are_named_and_described_for_a_person() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for alert in ALERTS:
        assert re.fullmatch(r"Yolowatch([A-Z][a-z]+)+", alert["alert"])
        assert alert["labels"].keys() == {"severity"}
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks.md#{alert['alert'].lower()}"


def test_who_is_paged_is_what_was_agreed() -> None:
    """A failed recovery, no progress, a daemon that is gone: nothing else."""
    paging = [each["alert"] for each in ALERTS if each["labels"]["severity"] == "critical"]
    assert sorted(paging) == [
        "YolowatchDaemonDown",
        "YolowatchDaemonMissing",
        "YolowatchLoopStalled",
        "YolowatchRecoveryFailed",
        "YolowatchRunStalled",
    ]
    severity = {each["alert"]: each["labels"]["severity"] for each in ALERTS}
    assert severity["YolowatchOutOfMemoryHealed"] == "info"


def sections() -> Iterator[tuple[str, str]]:
    _, *parts = re.split(r"^## ", RUNBOOKS.read_text(), flags=re.M)
    for part in parts:
        title, _, text = part.partition("\n")
        yield title, text


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    assert [title for title, _ in sections()] == NAMES
    for title, text in sections():
        (alert,) = (each for each in ALERTS if each["alert"] == title)
        assert text.startswith(f"{alert['labels']['severity'].capitalize()}. "), title
        assert "\n- **Check** " in text, title
        assert "\n- **Do** " in text, title


def test_runbooks_name_metrics_and_commands_that_exist() -> None:
    from yolowatch.commands.main import COMMANDS

    text = RUNBOOKS.read_text()
    assert set(NAME.findall(text)) <= {metric.name for metric in TABLE}
    commands = {command.name for command in COMMANDS}
    assert set(re.findall(r"`yolowatch ([a-z]+)", text)) <= commands


def exported() -> set[str]:
    """The names of all series: a summary's are two."""
    found = set()
    for metric in TABLE:
        suffixes = ("_sum", "_count") if metric.type is Type.SUMMARY else ("",)
        found |= {metric.name + suffix for suffix in suffixes}
    return found


def test_rules_use_metrics_and_recorded_names_that_exist() -> None:
    assert {
        name for name in RECORDED if re.fullmatch(r"[a-z]+:yolowatch_[a-z_]+:[a-z0-9]+", name)
    } == RECORDED
    used = {name for rule in (*ALERTS, *rules("recording")) for name in NAME.findall(rule["expr"])}
    assert used - RECORDED <= exported()
    labels = {"job", "instance", *(label for metric in TABLE for label in metric.labels)}
    for rule in (*ALERTS, *rules("recording")):
        grouped = re.findall(r"(?:by|on) \(([^)]*)\)", rule["expr"])
        assert {each.strip() for group in grouped for each in group.split(",")} <= labels


def test_what_says_that_something_is_wrong_has_an_alert() -> None:
    """The other way: a metric that is only there to tell of trouble is watched by a rule."""
    used = {name for rule in (*ALERTS, *rules("recording")) for name in NAME.findall(rule["expr"])}
    trouble = re.compile(
        r"dropped|rejected|faults|scrape_errors|_xid_errors|_ecc_|_up$|heartbeat|writable"
    )
    telling = {metric.name for metric in TABLE if trouble.search(metric.name)}
    assert len(telling) >= 11
    assert telling - used == set()


def test_values_of_labels_in_rules_are_the_tables_own() -> None:
    known = {metric.name: set(metric.values) for metric in TABLE if metric.values}
    for rule in (*ALERTS, *rules("recording")):
        for name, label, operator, value in re.findall(
            r'(yolowatch_[a-z_]+)\{([a-z_]+)(=~?)"([^"]*)"\}', rule["expr"]
        ):
            if name in known and label not in ("run",):
                matching = re.compile(value) if operator == "=~" else re.compile(re.escape(value))
                parts = value.split("|") if operator == "=~" else [value]
                assert any(matching.fullmatch(each) for each in known[name]), rule
                for part in parts:
                    assert any(re.fullmatch(part, each) for each in known[name]), (rule, part)


def test_amtool_accepts_the_example(amtool: Path) -> None:
    output = told(amtool, "check-config", ALERTMANAGER)
    assert "SUCCESS" in output
    assert "warning" not in output.lower()


@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "page"), ("warning", "ticket"), ("info", "context")]
)
def test_every_alert_finds_its_way(severity: str, receiver: str, amtool: Path) -> None:
    """The routes ask for the severity alone; each has an alert."""
    alert = next(each["alert"] for each in ALERTS if each["labels"]["severity"] == severity)
    done = subprocess.run(
        [
            *(amtool, "config", "routes", "test", f"--config.file={ALERTMANAGER}"),
            *(f"alertname={alert}", f"severity={severity}", "instance=box:9466", "run=a1"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.split() == [receiver]
    # The one thing that amtool always says where it is given a file.
    silent = ("", "Warning: --config.file flag overrides the --alertmanager.url.")
    assert done.stderr.strip() in silent
