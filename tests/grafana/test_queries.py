"""Every query of every dashboard finds data in a real Prometheus that scraped a real daemon.

The world is that of `world.py`: a real training that runs out of memory and is healed, and four
that are played. Each question is asked as Grafana would, with its variables replaced.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import pytest

from tests.faults.service import until
from tests.grafana.asked import NAMES, Question, questions, with_values
from tests.grafana.world import SCRAPE_SECONDS, World

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]

UNKNOWN_HERE: dict[str, str] = {}
"""Parts of queries that find nothing in this world, each with its reason."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = World(tmp_path_factory.mktemp("world"))
    try:
        found.start()
        wait_for_what_happens(found)
        yield found
    finally:
        print(found.service.log)  # pytest shows it where something failed
        found.close()


def wait_for_what_happens(world: World, healed: int = 2) -> None:
    """Until so many trainings were healed (one is real) and one has failed for good."""

    def happened(query: str, count: int) -> bool:
        return len(world.ask(query)) >= count

    until(lambda: happened('yolowatch_run_state{yolowatch_run_state="failed"} == 1 or '
                           'yolowatch_run_state{yolowatch_run_state="refused"} == 1', 1),
          "one fails for good", 180)  # fmt: skip
    until(lambda: happened("yolowatch_steps_saved_total > 0", healed), "they are healed", 240)
    until(lambda: happened("yolowatch_gpu_xid_errors_total > 0", 1), "an error of the driver")
    time.sleep(5)  # so that rates have several scrapes to look at


def run_id(world: World, name: str) -> str:
    (found,) = world.ask(f'yolowatch_run_info{{run_dir=~".*/{name}"}}')
    return str(found["metric"]["run"])


def values(world: World, run: str, gpu: str) -> dict[str, str]:
    """What a reader would have chosen."""
    chosen = {"instance": ".*", "run": run, "rank": "0", "gpu": gpu}
    return chosen | {"__rate_interval": f"{4 * SCRAPE_SECONDS}s", "__range": "300s"}


def answered(world: World, question: Question, chosen: dict[str, str]) -> bool:
    """Whether there is a figure in the answer; fails where Prometheus calls it an error."""
    expr, now = with_values(question.expr, chosen), time.time()
    if question.instant:
        found = [series["value"] for series in world.ask(expr)]
    else:
        since = now - 300
        found = [v for series in world.ask_range(expr, since, now) for v in series["values"]]
    return any(math.isfinite(float(value)) for _, value in found)


@pytest.mark.parametrize("name", NAMES)
def test_every_query_finds_data(world: World, name: str) -> None:
    # No run has it all: one no lever could help, and one stands in a control group.
    runs = ("healed", "hopeless", "tight")
    chosen = [values(world, run_id(world, run), "1") for run in runs]
    unanswered = [
        str(each)
        for each in questions(name)
        if not any(answered(world, each, one) for one in chosen)
        and not any(part in each.expr for part in UNKNOWN_HERE)
    ]
    assert unanswered == []


def test_a_real_training_is_shown_whole(world: World) -> None:
    """The run that a real network trains: everything but what only a GPU or a failure has."""
    chosen = values(world, run_id(world, "run"), "2")
    for panel in ("State", "Progress", "Headroom", "Attempts", "Allocator", "Epochs", "Batches"):
        found = [each for each in questions("run") if each.panel == panel]
        assert found, panel
        assert any(answered(world, each, chosen) for each in found), panel
    (incident,) = world.ask(
        f'yolowatch_incidents_total{{run="{chosen["run"]}", kind="cpu-oom"}} == 1'
    )
    assert incident["value"][1] == "1"


def test_a_query_that_finds_nothing_is_noticed(world: World) -> None:
    question = Question("none", "none", "A", 'yolowatch_run_epoch{run="nobody"}', False)
    assert not answered(world, question, {})
    wrong = Question("none", "none", "A", "yolowatch_run_epoch{", False)
    with pytest.raises(AssertionError, match="parse error"):
        answered(world, wrong, {})
