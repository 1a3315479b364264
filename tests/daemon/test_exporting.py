"""What a run's core knows is exported truly: its state, its incidents and how they ended."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.scenes import Scene, full_disk, process
from tests.decide import build
from yolowatch.daemon.exporting import Watched, run_metrics
from yolowatch.daemon.ledger import Ledger
from yolowatch.metrics.snapshot import RunMetrics, Spent
from yolowatch.model import events
from yolowatch.model.device import DeviceReading, DeviceUser
from yolowatch.model.forecast import Forecast, Outlook
from yolowatch.model.host import RunHost
from yolowatch.model.plan import Policy


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def shown(scene: Scene, ledger: Ledger | None = None, **facts: str) -> RunMetrics:
    watched = Watched(scene.core, scene.records, **facts)
    return run_metrics(scene.run, watched, scene.core.state(), ledger or Ledger(), scene.at)


def trained(scene: Scene, steps: int, **fields: object) -> None:
    scene.tell("sample", phase="forward", step=steps, seconds=1.0, steps=1, **fields)


def test_each_state_of_a_run_that_is_healed(scene: Scene) -> None:
    assert shown(scene).phase == "starting"
    scene.start()
    scene.train()
    assert shown(scene).phase == "starting"
    trained(scene, 3)
    assert shown(scene).phase == "training"
    scene.run_out_of_memory()
    assert shown(scene).phase == "remediating"
    assert shown(scene).remediations == {}, "nothing was carried out yet"
    scene.carry_out()
    scene.connect(2)
    trained_again(scene)
    found = shown(scene)
    assert (found.phase, found.attempts) == ("training", 2)
    assert found.incidents == {"cuda-oom": 1}
    assert found.outcomes == {}
    assert found.remediations == {"batch": 1}
    assert found.remediation_failures == {}
    (incident,) = (each.id for each in scene.incidents())
    assert found.exemplars == {"cuda-oom": incident, "batch": incident}
    scene.tell("bye", 2, finished=True)
    scene.exit(0)
    scene.gone(2)
    found = shown(scene)
    assert (found.phase, found.outcomes) == ("finished", {"healed": 1})
    assert found.exemplars["healed"] == incident


def trained_again(scene: Scene) -> None:
    again = replace(build.SPEC, batch=8, accumulate=8)
    scene.describe(2, batch=again.batch, accumulate=again.accumulate, resumed=True)
    scene.tell("sample", 2, phase="forward", step=2, seconds=1.0, steps=1)


def test_what_was_started_again_and_fails_for_another_reason(scene: Scene) -> None:
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out()
    scene.exit(1)
    found = shown(scene)
    assert found.phase == "failed"
    assert found.remediations == found.remediation_failures == {"batch": 1}
    assert found.outcomes == {"failed": 1}
    assert found.state.spec == scene.core.user, "it has said nothing, and is still the user's run"


def test_a_step_that_cannot_be_carried_out_is_a_failure_of_the_remedy(scene: Scene) -> None:
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out("rewrite")
    scene.failed("the file is somebody else's")
    found = shown(scene)
    assert found.phase == "failed"
    assert found.remediations == found.remediation_failures == {"batch": 1}
    assert found.outcomes == {"abandoned": 1}


@pytest.mark.parametrize("who", ["a signal", "another training"])
def test_a_remedy_that_somebody_stepped_into_has_not_failed(scene: Scene, who: str) -> None:
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    if who == "a signal":
        scene.signal(signal.SIGINT)
    else:
        scene.core.healing.stand_down("somebody else trains there")
    found = shown(scene)
    assert found.phase == "stopped"
    assert found.remediation_failures == {}
    assert found.outcomes == {"abandoned": 1}


def test_refusal_and_observation(tmp_path: Path) -> None:
    for mode, phase, outcome in (
        ("auto", "refused", "refused"),
        ("observe", "failed", "observed"),
        ("recommend", "failed", "recommended"),
    ):
        (tmp_path / mode).mkdir()
        scene = Scene(
            tmp_path / mode, Policy(mode=mode, levers=() if mode == "auto" else ("batch",))
        )
        scene.start()
        scene.train()
        scene.run_out_of_memory()
        found = shown(scene)
        assert (found.phase, found.outcomes) == (phase, {outcome: 1}), mode
        assert found.remediations == {}


def test_a_plan_that_waits_for_a_person(scene: Scene) -> None:
    scene.core.healing.paused = "everything is paused"
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    found = shown(scene)
    assert (found.phase, found.paused) == ("waiting", True)


def test_a_run_that_is_stopped_or_fails_by_itself(tmp_path: Path) -> None:
    for name, end, phase in (
        ("a", lambda scene: scene.exit(None, signal.SIGINT), "stopped"),
        ("b", lambda scene: scene.exit(1), "failed"),
    ):
        (tmp_path / name).mkdir()
        scene = Scene(tmp_path / name)
        scene.start()
        scene.train()
        if phase == "stopped":
            scene.signal(signal.SIGINT)
        else:
            scene.fail(replace(build.failed(), exception="ValueError", text="no"))
        end(scene)
        scene.gone()
        assert shown(scene).phase == phase


def test_a_journal_that_cannot_be_written_is_seen(scene: Scene) -> None:
    scene.start()
    assert shown(scene).journal_writable is True
    with full_disk():
        scene.train()
    assert shown(scene).journal_writable is False


def test_what_others_see_of_the_run_is_exported_with_it(scene: Scene) -> None:
    scene.start()
    seen = (DeviceReading(0, users=(DeviceUser(10, 5, 0, "root", scene.process),)),)
    scene.step(events.DevicesSeen(seen, 101.0))
    held = RunHost(processes=3, resident_bytes=7)
    scene.step(events.HostSeen({scene.run: held, "other": RunHost()}, 102.0))
    worst = Outlook("validation", 5, 6, 0.5, 10)
    scene.core.foreseeing.forecast = Forecast((worst,))
    found = shown(scene, user="ann", mode="auto")
    assert (scene.core.sights.devices, scene.core.sights.devices_at) == (seen, 101.0)
    assert (found.host, scene.core.sights.host_at) == (held, 102.0)
    assert found.outlooks == (worst,)
    old = run_metrics(
        scene.run, Watched(scene.core, scene.records), scene.core.state(), Ledger(), 1e6
    )
    assert old.host == RunHost(), "what was seen long ago is not known any more"
    assert (found.user, found.mode) == ("ann", "auto")
    assert found.pids == {10}
    scene.exit(0)
    scene.gone()
    assert shown(scene).pids == frozenset(), "its pid may be another's by now"


def test_what_the_machine_says_before_the_first_attempt_is_kept(scene: Scene) -> None:
    scene.step(events.DevicesSeen((), 5.0))
    assert scene.core.sights.devices == ()


# ---------------------------------------------------------------- progress, and what was saved


def noted(scene: Scene, ledger: Ledger, at: float) -> Spent:
    ledger.note(scene.core, scene.core.state(), at, 1000.0 + at)
    return ledger.spent(scene.core)


def test_progress_is_a_batch_an_epoch_or_a_phase_and_no_mere_message(scene: Scene) -> None:
    ledger = Ledger()
    noted(scene, ledger, 0.0)
    assert ledger.progress_at is None, "nothing has begun"
    scene.start()
    noted(scene, ledger, 1.0)
    trained(scene, 1)
    noted(scene, ledger, 2.0)
    trained(scene, 1, allocated_bytes=77)
    noted(scene, ledger, 3.0)
    assert ledger.progress_at == 1002.0
    scene.tell("sample", phase="validation", step=1)
    noted(scene, ledger, 4.0)
    assert ledger.progress_at == 1004.0


def test_what_is_trained_after_a_remedy_was_saved(scene: Scene) -> None:
    ledger = Ledger()
    scene.start()
    scene.train()
    trained(scene, 460)
    assert noted(scene, ledger, 0.0) == Spent(), "the user's own attempt saves nothing"
    scene.run_out_of_memory()
    scene.carry_out()
    noted(scene, ledger, 250.0)
    scene.connect(2)
    trained_again(scene)
    noted(scene, ledger, 260.0)
    scene.tell("sample", 2, phase="forward", step=12, seconds=1.0, steps=1)
    spent = noted(scene, ledger, 270.0)
    assert ledger.remedied_at == 1000.0 + 100.0, "when the attempt was started, by the wall clock"
    assert (spent.steps_saved, spent.device_seconds_saved) == (12, 20.0)
    (receipt,) = scene.core.healing.receipts
    assert receipt.costs.steps_lost is not None
    assert spent.steps_lost == receipt.costs.steps_lost
    assert receipt.costs.seconds_lost is not None
    assert spent.device_seconds_lost == pytest.approx(receipt.costs.seconds_lost)


def test_a_daemon_that_comes_later_counts_from_there(scene: Scene) -> None:
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out()
    scene.connect(2)
    scene.tell("sample", 2, phase="forward", step=500, seconds=1.0, steps=1)
    ledger = Ledger()
    assert noted(scene, ledger, 0.0).steps_saved == 0
    scene.tell("sample", 2, phase="forward", step=503, seconds=1.0, steps=1)
    assert noted(scene, ledger, 1.0).steps_saved == 3


def test_a_second_process_of_another_run_is_no_part_of_it(scene: Scene) -> None:
    scene.start()
    assert process(99).pid not in shown(scene).pids
