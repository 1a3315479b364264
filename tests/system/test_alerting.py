"""From a lack of memory to the message on somebody's pager, with nothing made up on the way.

A real training runs out of memory under a real limit, a real daemon heals it or fails to, a real
Prometheus scrapes that daemon and evaluates the shipped rules, and a real Alertmanager sends what
the shipped routes say.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import service as faults_service
from tests.faults.conftest import scene as scene  # pytest finds it by this name
from tests.faults.scene import MINIATURE, PLAYED, Miniature, check_each_epoch_once
from tests.faults.service import CONFIGURATION, Service
from tests.system.alerting import Alerting, alerting, free_port

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(500)]

PATIENCE_SECONDS = 200.0  # a real training, twice, on a machine that has other things to do
FAILED, HEALED = "YolowatchRecoveryFailed", "YolowatchOutOfMemoryHealed"


def until(happened: Callable[[], object], what: str) -> None:
    faults_service.until(happened, what, PATIENCE_SECONDS)


@pytest.fixture(
    params=[
        pytest.param(PLAYED, id="played", marks=pytest.mark.slice),
        pytest.param(MINIATURE, id="trained"),
    ]
)
def service(scene: Miniature, request: pytest.FixtureRequest) -> Iterator[Service]:
    """The real training, and one that is only played, in a tenth of its time."""
    # A copy, which a test may take away.
    shutil.copytree(request.param.parent, scene.root / "program")
    scene.program = scene.root / "program" / request.param.name
    service = Service(scene)
    yield service
    service.close()


@pytest.fixture
def watch(service: Service, tmp_path: Path) -> Iterator[Alerting]:
    """A daemon that is scraped, and whoever is told."""
    port = free_port()
    service.configure(CONFIGURATION.replace("metrics: none", f"metrics: 127.0.0.1:{port}"))
    with alerting(tmp_path, f"127.0.0.1:{port}") as watch:
        service.start()
        until(lambda: watch.query("up == 1"), "the daemon is scraped")
        yield watch


def test_a_failure_that_healed_itself_informs_and_does_not_page(
    service: Service, watch: Alerting
) -> None:
    service.train()
    until(service.outcome, "the run ends")
    assert service.outcome() == "finished, healed"
    check_each_epoch_once(service.scene)
    until(lambda: watch.receiver.got("context", HEALED), "somebody is informed")
    (told, *_) = watch.receiver.got("context", HEALED)
    assert told.labels["severity"] == "info"
    assert told.labels["run"] in told.annotations["summary"]
    until(
        lambda: watch.query('yolowatch_run_state{yolowatch_run_state="finished"} == 1'),
        "the end of the run is scraped",
    )
    assert {each.receiver for each in watch.receiver.messages} == {"context"}
    incidents = watch.query('sum(yolowatch_incidents_total{kind="cpu-oom"})')
    assert [each["value"][1] for each in incidents] == ["1"]


def test_a_recovery_that_failed_pages_until_somebody_has_seen_to_it(
    service: Service, watch: Alerting
) -> None:
    scene = service.scene
    service.train()
    until(lambda: scene.trained("start"), "it trains")
    scene.program.rename(scene.program.with_suffix(".gone"))  # what is started again cannot start
    until(lambda: watch.receiver.got("page", FAILED), "somebody is paged")
    (page, *_) = watch.receiver.got("page", FAILED)
    assert page.labels["run_dir"] == str(scene.run_dir)
    assert page.annotations["runbook_url"] == f"docs/runbooks.md#{FAILED.lower()}"
    assert "could not be recovered" in page.annotations["summary"]
    assert not watch.receiver.got("page", FAILED, "resolved")

    scene.program.with_suffix(".gone").rename(scene.program)
    # Somebody makes room and takes a smaller batch.
    (scene.root / "limit").write_text(str(1 << 50))
    options = scene.run_dir / "opt.yaml"
    options.write_text(re.sub(r"(?m)^batch_size: \d+$", "batch_size: 16", options.read_text()))
    service.train("--resume", str(scene.last))
    until(lambda: watch.receiver.got("page", FAILED, "resolved"), "the page is taken back")
    until(lambda: scene.trained("end"), "the run ends")
    assert [line["epoch"] for line in scene.trained("epoch")] == [0, 1, 2]
    pages = {each.alert for each in watch.receiver.messages if each.receiver == "page"}
    assert pages == {FAILED}
