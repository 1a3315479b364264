"""The dashboards are what their code says, ask for metrics that exist, and can be judged."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.grafana.asked import METRIC, NAMES, VARIABLE, board, panels, questions, with_values
from yolowatch.metrics.table import TABLE, Type

pytest.importorskip("grafana_foundation_sdk", reason="Grafana's SDK needs Python 3.11")

from grafana.source.__main__ import BOARDS, FOLDER
from grafana.source.boards import text_of

FAMILIES = {each.name for each in TABLE}
# A summary is asked for by its parts.
SERIES = FAMILIES | {
    f"{each.name}_{part}"
    for each in TABLE
    if each.type is Type.SUMMARY
    for part in ("count", "sum")
}
NOT_SHOWN: dict[str, str] = {
    "yolowatch_remediation_timestamp_seconds": "for the alert that informs of a resumed run",
    "yolowatch_live_changes_total": "rare, and told by the receipt and the incident's page",
    "yolowatch_otlp_pushes_total": "a box that is scraped pushes nothing",
    "yolowatch_otlp_push_failures_total": "likewise; a failure is in the daemon's log",
    "yolowatch_otlp_push_timestamp_seconds": "likewise",
}
"""Metrics that no dashboard shows, each with its reason."""
GRAFANAS_OWN = {"__all", "__rate_interval", "__range", "__url_time_range", "__value", "__data"}


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_current(name: str) -> None:
    """`make dashboards` makes it anew."""
    assert (FOLDER / f"{name}.json").read_text() == text_of(BOARDS[name]())


def test_there_is_a_file_for_each_dashboard_and_no_other() -> None:
    assert set(NAMES) == set(BOARDS)
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.json" for name in NAMES}


def asked() -> set[str]:
    found = {
        metric for name in NAMES for each in questions(name) for metric in METRIC.findall(each.expr)
    }
    variables = [v for name in NAMES for v in board(name)["templating"]["list"]]
    return found | {m for v in variables for m in METRIC.findall(str(v.get("query", "")))}


def test_every_metric_that_is_asked_for_is_in_the_table() -> None:
    assert asked() - SERIES == set()


def test_every_metric_of_the_table_is_shown() -> None:
    shown = {
        re.sub("_(sum|count)$", "", name) if name not in FAMILIES else name for name in asked()
    }
    assert FAMILIES - shown == set(NOT_SHOWN)


@pytest.mark.parametrize("name", NAMES)
def test_labels_that_are_asked_for_are_those_of_the_metric(name: str) -> None:
    labels = {each.name: {*each.labels, each.name} for each in TABLE}
    for each in questions(name):
        for metric, selector in re.findall(r"(yolowatch_\w+)\{([^}]*)\}", each.expr):
            used = set(re.findall(r"(\w+)=~?\"", selector)) - {"instance"}
            family = metric if metric in labels else re.sub("_(sum|count)$", "", metric)
            assert used <= labels[family], each


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_can_judge_each_panel(name: str) -> None:
    for panel in panels(name):
        title, defaults = panel["title"], panel["fieldConfig"]["defaults"]
        assert panel["description"].endswith("."), title
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, title
        assert panel["targets"], title
        if panel["type"] != "table":
            assert defaults["unit"], title
        if panel["type"] in ("stat", "bargauge"):
            assert defaults["thresholds"]["steps"], title


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_numbers_and_their_queries_letters(name: str) -> None:
    found = board(name)["panels"]
    assert [panel["id"] for panel in found] == list(range(1, len(found) + 1))
    for panel in panels(name):
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == [chr(ord("A") + at) for at in range(len(letters))]


@pytest.mark.parametrize("name", NAMES)
def test_panels_lie_side_by_side(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in board(name)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_variables_that_are_used_exist(name: str) -> None:
    defined = {each["name"] for each in board(name)["templating"]["list"]}
    assert defined >= {"datasource", "instance"}
    used = {a or b for a, b in VARIABLE.findall(str(board(name)))}
    assert used <= defined | GRAFANAS_OWN


def test_links_lead_to_dashboards_and_name_their_variables() -> None:
    boards = {board(name)["uid"]: board(name) for name in NAMES}
    links = [
        (name, link)
        for name in NAMES
        for link in re.findall(r"'url': '(/d/[^']+)'", str(board(name)))
    ]
    assert {name for name, _ in links} >= {"fleet", "gpu"}
    for name, link in links:
        uid, _, words = link.removeprefix("/d/").partition("?")
        defined = {each["name"] for each in boards[uid]["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)=", words)) <= defined, (name, link)


def test_all_dashboards_are_linked_by_their_tag() -> None:
    for name in NAMES:
        (link,) = board(name)["links"]
        assert (link["type"], link["tags"]) == ("dashboards", ["yolowatch"])
        assert "yolowatch" in board(name)["tags"]


def test_incidents_are_marked_by_queries_on_counters() -> None:
    for name in ("fleet", "run", "gpu"):
        marks = board(name)["annotations"].get("list", [])
        assert {mark["name"] for mark in marks} >= {"Incident", "Remediation", "Attempt"}
        for mark in marks:
            assert all(metric.endswith("_total") for metric in METRIC.findall(mark["expr"]))


def test_promtool_can_read_every_query(promtool: Path, tmp_path: Path) -> None:
    values: dict[str, Any] = dict.fromkeys(("instance", "run", "gpu", "rank"), ".*")
    values |= {"__rate_interval": "1m", "__range": "1h"}
    rules = [
        {"record": f"question_{number}", "expr": with_values(each.expr, values)}
        for number, each in enumerate(each for name in NAMES for each in questions(name))
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(rules)} rules found" in done.stdout
