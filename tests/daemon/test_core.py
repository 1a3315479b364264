"""The core, fed with lists of events: what it asks for, in which order, and what it journals first.

Its journal is real; the executor, the processes and the clock are played by the scene.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.scenes import CHANGE, LAST, RUN_DIR, Scene, full_disk, process
from tests.decide import build
from yolowatch.daemon.mismatch import mismatch
from yolowatch.model import events
from yolowatch.model.actions import (
    STEPS,
    Finish,
    RestoreFiles,
    RunStep,
    Say,
    Signal,
    VaultCheckpoint,
)
from yolowatch.model.plan import Edits, Policy, Start
from yolowatch.model.receipt import ResumePoint

POLICY = Policy()
NOT_OOM = replace(build.failed(), exception="ValueError", text="no such label")
HANDLED = build.failed(handled=True)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    scene.start()
    return scene


def healed_once(scene: Scene) -> Scene:
    """The second attempt trains on connection 2."""
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out()
    scene.connect(2)
    scene.describe(2, batch=8, accumulate=8, resumed=True)
    return scene


# ---------------------------------------------------------------- nothing is wrong


@pytest.mark.parametrize("status", [0, 1, 7, 120, 255])
def test_without_a_memory_failure_the_status_is_passed_on(scene: Scene, status: int) -> None:
    scene.train()
    scene.tell("bye", finished=status == 0, epoch=99)
    scene.exit(status)
    assert scene.gone() == [Finish(status)]
    assert (scene.plans(), scene.incidents(), scene.said) == ((), (), [])
    assert scene.outcomes() == ["observed" if status else "finished"]
    assert scene.tell("retry", batch_before=16, text="") == [], "nothing follows the end"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_death_by_signal_is_128_and_its_number(scene: Scene, number: int) -> None:
    scene.train()
    scene.exit(None, number)
    scene.gone()
    assert scene.status() == 128 + number
    assert not scene.plans()


def test_a_python_error_is_nobodys_memory_failure(scene: Scene) -> None:
    scene.train()
    scene.fail(NOT_OOM)
    scene.exit(1)
    assert scene.gone() == [Finish(1)]
    assert (scene.plans(), scene.outcomes()) == ((), ["error"])


def test_a_command_without_a_hook_is_only_observed(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.step(events.Started(0, scene.process, scene.at))
    assert scene.exit(3)[-1] == Finish(3)
    assert scene.said == ["no hook reported from this command: it was only observed from outside"]


def test_a_program_that_trains_no_yolo_is_only_observed(scene: Scene) -> None:
    scene.exit(0)
    assert scene.gone()[-1] == Finish(0)
    assert scene.said == ["no YOLO training was recognised in this command: it was only observed"]


def test_checkpoints_of_the_run_are_vaulted_and_no_others(scene: Scene) -> None:
    assert scene.tell("checkpoint", path=LAST, epoch=0, step=9) == [], "of which run?"
    scene.describe()
    assert scene.tell("checkpoint", path="/etc/shadow.pt", epoch=1, step=9) == []
    assert scene.tell("checkpoint", path=f"{RUN_DIR}-2/weights/last.pt", epoch=1, step=9) == []
    asked = scene.tell("checkpoint", path=LAST, epoch=2, step=9)
    assert asked == [VaultCheckpoint(LAST, RUN_DIR, 0, 2)]
    scene.step(events.CheckpointVaulted(LAST, 2, "cd" * 32, "/vault/copy.pt", 500, 0.25, scene.at))
    (copy,) = scene.journal.checkpoints(scene.run)
    assert (copy.epoch, copy.copy, copy.size_bytes, copy.seconds) == (
        2,
        "/vault/copy.pt",
        500,
        0.25,
    )
    scene.step(events.CheckpointRefused(LAST, "the disk is full", scene.at))
    assert scene.said == ["a checkpoint was not copied to the vault: the disk is full"]


def test_what_the_trainer_and_the_hook_meet_is_said_once(scene: Scene) -> None:
    scene.describe()
    scene.tell("retry", batch_before=16, text="CUDA out of memory")
    scene.tell("sample", faults=1)  # the next window tells of a fault before its text does
    scene.tell("fault", where="oom._final", text="KeyError: 'x'", count=1)
    scene.tell("fault", where="agent._loop", text="KeyError: 'y'", count=2)
    assert scene.said == [
        "the trainer ran out of memory at batch 16 and retries by itself",
        "the hook failed and leaves the training alone (oom._final: KeyError: 'x')",
    ]


def test_messages_and_exits_of_others_are_nobodys(scene: Scene) -> None:
    scene.train()
    assert scene.tell("last_words", 7, exception="torch.OutOfMemoryError", text="") == []
    assert scene.step(events.ProcessExited(process(99), 1, None, scene.at)) == []
    assert scene.step(events.HookGone(7, process(99), scene.at)) == []
    assert scene.step(events.HookRefused("a stranger", 5, scene.at)) == []
    assert scene.core.alive


# ---------------------------------------------------------------- a failure is answered


def test_the_plan_is_on_disk_before_its_first_step(scene: Scene) -> None:
    scene.train()
    scene.fail()
    assert scene.plans() == ()
    scene.exit()
    verdict, planned, step = scene.gone()
    assert isinstance(verdict, Say)
    assert isinstance(planned, Say)
    assert isinstance(step, RunStep)
    (plan,) = scene.plans()
    order = step.remediation
    assert (plan.id, plan.plan, plan.ended) == (order.plan_id, order.plan, None)
    assert scene.steps() == [("stop", "intent")]
    assert (order.run_dir, order.checkpoint, order.saved) == (RUN_DIR, LAST, True)
    assert (order.failed_attempt, order.processes) == (0, (scene.process,))
    (incident,) = scene.incidents()
    assert (incident.kind, incident.closed) == ("cuda-oom", None)
    assert scene.said[0] == incident.sentence
    assert "batch 8" in scene.said[1]
    assert scene.core.healing.under_way


def test_each_step_is_intended_before_and_done_after(scene: Scene) -> None:
    scene.train()
    scene.run_out_of_memory()
    expected: list[tuple[str, str]] = []
    for name in STEPS:
        expected.append((name, "intent"))
        assert scene.asked().step == name
        assert scene.steps() == expected
        scene.done()
        expected.append((name, "done"))
    assert scene.steps() == expected
    assert [step.step for step in scene.of(RunStep)] == list(STEPS)
    resumes = [step.resume is not None for step in scene.of(RunStep)]
    assert resumes == [False, False, True, True, True], "known once the vault step found it"
    (plan,) = scene.plans()
    assert plan.outcome == "carried out"
    (file,) = scene.journal.files(plan.id)
    assert (file.path, file.sha256_before, file.sha256_after) == (CHANGE.path, "old", "new")


def test_a_restarted_run_is_a_new_attempt_and_finishes_healed(scene: Scene) -> None:
    healed_once(scene)
    assert scene.said[-1].startswith("attempt 1 resumed after epoch 12")
    assert (scene.core.attempts, scene.core.alive) == (2, True)
    assert [a.process for a in scene.journal.attempts(scene.run)] == [process(10), process(11)]
    scene.at += 30
    scene.tell("sample", 2, step=1, phase="forward")
    (receipt,) = scene.core.healing.receipts
    assert receipt.outcome == "training again"
    assert receipt.costs.seconds_lost is not None
    assert receipt.costs.seconds_lost >= 30
    scene.exit(0)
    assert scene.gone(2)[-1] == Finish(0)
    assert scene.said[-1] == "finished: the run ran out of memory once and was healed"
    (receipt,) = scene.core.healing.receipts
    assert receipt.outcome == scene.journal.receipts(scene.run)[-1].body["outcome"] == "finished"
    assert [each.outcome for each in scene.incidents()] == ["healed"]
    assert scene.outcomes() == ["cuda-oom", "finished"]
    assert scene.core.summary() == "finished, healed"
    assert scene.restored() == []


def test_the_receipt_says_what_it_cost(scene: Scene) -> None:
    scene.train()  # at step 450
    scene.at += 20
    scene.fail()  # at step 500
    scene.at += 4
    scene.exit()
    scene.gone()
    scene.carry_out("wait")
    scene.at += 3
    scene.done(seconds=2.0)
    scene.done()
    (receipt,) = scene.core.healing.receipts
    costs = receipt.costs
    assert (costs.epochs_kept, costs.steps_lost) == (12, 50)
    assert (costs.exit_seconds, costs.repeat_seconds) == (4.0, 20.0)
    assert (costs.memory_wait_seconds, costs.restart_seconds) == (2.0, 1.0)
    assert receipt.undo == (f"cp -p {CHANGE.copy} {CHANGE.path}",)
    assert scene.journal.receipts(scene.run)[-1].body == receipt.to_json()


def test_undo_lines_survive_any_path(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    odd = replace(CHANGE, path="/r/it's  two\n\x1b[2J/args.yaml", copy="/v/ö b")
    scene.carry_out("rewrite")
    scene.done(files=(odd, replace(CHANGE, copy=None)))
    scene.carry_out()
    (receipt,) = scene.core.healing.receipts
    assert receipt.undo == (r"cp -p '/v/ö b' $'/r/it\x27s  two\x0a\x1b[2J/args.yaml'",)


def test_what_the_new_process_says_early_is_not_lost(scene: Scene) -> None:
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out("relaunch")
    scene.process = process(11)
    assert scene.connect(2) == []
    assert scene.describe(2, batch=8, accumulate=8) == []
    assert scene.tell("checkpoint", 2, path=LAST, epoch=12, step=5) == []
    actions = scene.done(process=process(11))
    assert VaultCheckpoint(LAST, RUN_DIR, 1, 12) in actions
    assert scene.core.state().checkpoint is not None
    assert scene.core.hook_connected


def test_an_early_end_of_the_new_process_ends_the_run_once(scene: Scene) -> None:
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out("relaunch")
    early = process(11)
    scene.step(events.ProcessExited(early, 3, None, scene.at))
    scene.process = early
    scene.connect(2)  # what comes after the end has no effect any more
    scene.describe(2)
    scene.tell("checkpoint", 2, path=LAST, epoch=12, step=5)
    actions = scene.done(process=early)
    assert actions[-1] == Finish(3)
    assert len(scene.of(Finish)) == 1
    assert scene.outcomes() == ["cuda-oom", "observed"]


def test_an_early_failure_of_the_new_process_is_answered(scene: Scene) -> None:
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out("relaunch")
    scene.process = process(11)
    scene.connect(2)
    scene.describe(2, batch=8, accumulate=8)
    scene.run_out_of_memory(2)
    scene.done(process=process(11))
    assert scene.asked().step == "stop"
    assert scene.asked().remediation.failed_attempt == 1
    assert len(scene.plans()) == 2


# ---------------------------------------------------------------- the order of the last events


def test_an_exit_before_the_last_messages_is_concluded_once(scene: Scene) -> None:
    scene.train()
    assert scene.exit() == [], "the connection is still open: its last words may be on the way"
    scene.fail()
    assert isinstance(scene.gone()[-1], RunStep)
    assert scene.gone() == scene.exit() == scene.wait(60) == []
    assert len(scene.plans()) == 1


def test_a_connection_that_ends_before_the_process_is_waited_for(scene: Scene) -> None:
    scene.train()
    scene.fail()
    assert scene.gone() == []
    assert isinstance(scene.exit()[-1], RunStep)


def test_a_grandchild_that_holds_the_socket_delays_the_answer_by_seconds(scene: Scene) -> None:
    scene.train()
    scene.connect(2, process(20))  # a data loader, say, that never closes it
    scene.fail()
    scene.exit()
    scene.gone()
    assert scene.wait(1.9) == []
    assert isinstance(scene.wait(0.2)[-1], RunStep)
    assert scene.asked().remediation.processes == (process(10), process(20)), "it is ended first"
    assert scene.wait(60) == scene.gone(2) == []


# ---------------------------------------------------------------- modes


@pytest.mark.parametrize("mode", ["observe", "recommend"])
def test_other_modes_change_nothing(tmp_path: Path, mode: str) -> None:
    scene = Scene(tmp_path, Policy(mode=mode))
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    assert scene.status() == 1
    assert {type(action) for action in scene.actions} == {Say, VaultCheckpoint, Finish}
    assert scene.said[-1] == f"mode {mode}: nothing is changed"
    (incident,) = scene.incidents()
    if mode == "observe":
        assert (incident.outcome, scene.plans()) == ("observed", ())
    else:
        (plan,) = scene.plans()
        assert (incident.outcome, plan.outcome, plan.steps) == ("recommended", "recommended", ())
        assert any("plan: batch 16" in sentence for sentence in scene.said)


@pytest.mark.parametrize("mode", ["observe", "recommend"])
def test_other_modes_leave_a_hung_process_alone(tmp_path: Path, mode: str) -> None:
    scene = Scene(tmp_path, Policy(mode=mode))
    scene.start()
    scene.train()
    scene.fail()
    assert scene.wait(3600) == []


# ---------------------------------------------------------------- a journal that fails


def test_a_journal_that_fails_from_the_start_leaves_the_run_watched(scene: Scene) -> None:
    with full_disk():
        scene.train()
        actions = scene.run_out_of_memory()
    assert actions[-1] == Finish(1)
    assert scene.of(RunStep) == scene.of(Signal) == scene.of(RestoreFiles) == []
    told = [sentence for sentence in scene.said if "is watched and not changed" in sentence]
    assert len(told) == 1
    assert any("not restarted: the journal cannot be written" in each for each in scene.said)
    assert scene.plans() == ()


def test_a_plan_that_cannot_be_written_is_not_carried_out(scene: Scene) -> None:
    scene.train()
    scene.fail()
    with full_disk():
        scene.exit(9)
        scene.gone()
    assert scene.status() == 9, "the training's own"
    assert scene.of(RunStep) == []
    assert scene.plans() == ()


def test_a_closed_journal_is_a_journal_that_fails(scene: Scene) -> None:
    scene.train()
    scene.journal.close()
    scene.run_out_of_memory()
    assert scene.status() == 1
    assert scene.of(RunStep) == []


@pytest.mark.parametrize("step", STEPS[:-1])
def test_a_step_whose_successor_cannot_be_intended_is_the_last(scene: Scene, step: str) -> None:
    scene.train()
    scene.fail()
    scene.exit(9)
    scene.gone()
    scene.carry_out(step)
    with full_disk():
        scene.done()
    assert scene.status() == 9
    assert scene.asked().step == step
    rewritten = STEPS.index(step) >= STEPS.index("rewrite")
    assert scene.restored() == ([CHANGE.path] if rewritten else [])


def test_a_journal_that_fails_later_does_not_stop_a_run_that_trains(scene: Scene) -> None:
    healed_once(scene)
    with full_disk():
        scene.tell("checkpoint", 2, path=LAST, epoch=12, step=9)
        scene.step(events.CheckpointVaulted(LAST, 12, "cd" * 32, "/c", 5, 0.1, scene.at))
        assert scene.exit(0) == []
        scene.gone(2)
    assert scene.status() == 0
    assert scene.said[-1].endswith("healed")


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize("forward", [True, False])
def test_a_signal_is_forwarded_exactly_when_the_training_did_not_get_it(
    scene: Scene, forward: bool
) -> None:
    scene.train()
    scene.signal(signal.SIGINT, forward=forward)
    assert scene.signals() == ([(scene.process, signal.SIGINT)] if forward else [])
    scene.fail()  # whatever it says now: it was asked to stop
    scene.exit(130)
    scene.gone()
    assert (scene.status(), scene.plans(), scene.outcomes()) == (130, (), ["interrupted"])


@pytest.mark.parametrize("step", ["stop", "vault", "wait"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_two_attempts_ends_the_run(scene: Scene, step: str, number: int) -> None:
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out(step)
    scene.signal(number, forward=False)
    assert scene.status() == 128 + number
    assert scene.signals() == []
    assert scene.restored() == ([CHANGE.path] if step == "wait" else [])
    (plan,) = scene.plans()
    name = signal.Signals(number).name
    assert plan.outcome == f"abandoned: {name} came between two attempts"
    assert scene.incidents()[0].outcome == plan.outcome
    assert scene.done() == []


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_signal_while_files_are_rewritten_waits_until_it_is_known_which(
    scene: Scene, succeeds: bool
) -> None:
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out("rewrite")
    assert scene.signal(signal.SIGTERM) == []
    scene.done() if succeeds else scene.failed()
    assert scene.status() == 143
    assert scene.restored() == ([CHANGE.path] if succeeds else [])
    assert scene.asked().step == "rewrite"


def test_a_signal_while_the_new_process_is_started_reaches_it(scene: Scene) -> None:
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out("relaunch")
    assert scene.signal(signal.SIGINT, forward=False) == [], "who is to get it?"
    scene.done()
    assert scene.signals() == [(process(11), signal.SIGINT)]
    scene.exit(130)
    assert scene.status() == 130
    assert scene.outcomes() == ["cuda-oom", "interrupted"]


def test_a_signal_before_the_last_messages_are_read_prevents_a_restart(scene: Scene) -> None:
    scene.train()
    scene.fail()
    scene.exit(1)
    assert scene.signal(signal.SIGTERM) == []
    assert scene.gone()[-1] == Finish(1)
    assert (scene.plans(), scene.outcomes()) == ((), ["interrupted"])


def test_a_signal_after_a_good_end_changes_nothing(scene: Scene) -> None:
    scene.train()
    scene.exit(0)
    scene.signal(signal.SIGTERM)
    assert scene.gone() == [Finish(0)]
    assert scene.outcomes() == ["finished"]


# ---------------------------------------------------------------- a process that does not end


def test_a_hung_exit_gets_term_then_kill_after_the_graces(scene: Scene) -> None:
    scene.train()
    scene.fail()
    assert scene.wait(POLICY.exit_grace_seconds - 1) == []
    assert Signal(scene.process, signal.SIGTERM) in scene.wait(1)
    assert scene.wait(POLICY.kill_grace_seconds - 1) == []
    assert Signal(scene.process, signal.SIGKILL) in scene.wait(1)
    assert scene.wait(3600) == []
    scene.exit(None, signal.SIGKILL)
    assert isinstance(scene.gone()[-1], RunStep), "what ended it is still its memory failure"
    scene.carry_out()
    costs = scene.core.healing.receipts[0].costs
    assert costs.exit_seconds == POLICY.exit_grace_seconds + POLICY.kill_grace_seconds + 3600


@pytest.mark.parametrize("words", [NOT_OOM, HANDLED])
def test_a_program_that_goes_on_after_another_failure_is_left_alone(
    scene: Scene, words: build.LastWords
) -> None:
    scene.train()
    scene.fail(words)
    assert scene.wait(3600) == []


def test_a_training_that_lives_is_never_helped_to_exit(scene: Scene) -> None:
    scene.train()
    assert scene.wait(1e6) == []


# ---------------------------------------------------------------- the new attempt is not as planned


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 16, "accumulate": 4}, "its batch is 16 instead of 8"),
        ({"batch": 8, "accumulate": 4}, "its effective batch is 32 instead of 64"),
        ({"batch": 8, "accumulate": 8, "run_dir": "/runs/train2"}, "it writes to /runs/train2"),
        (
            {"batch": 8, "accumulate": 8, "effective_weight_decay": 0.001},
            "its effective weight decay is 0.001 instead of 0.0005",
        ),
    ],
)
@pytest.mark.parametrize("ending", [(None, signal.SIGTERM), (0, None)])
def test_an_attempt_that_is_not_what_was_planned_is_ended(
    scene: Scene, changes: dict[str, object], words: str, ending: tuple[int | None, int | None]
) -> None:
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out()
    scene.connect(2)
    said, signalled = scene.describe(2, **changes)
    assert isinstance(said, Say)
    assert words in said.sentence
    assert signalled == Signal(process(11), signal.SIGTERM)
    assert scene.describe(2, **changes) == [], "once"
    scene.exit(*ending)
    scene.gone(2)
    assert scene.status() == 143, "a training that was ended half-way did not succeed"
    assert scene.restored() == [CHANGE.path]
    assert len(scene.plans()) == 1
    (receipt,) = scene.core.healing.receipts
    assert receipt.outcome.startswith("failed: ")
    assert words in receipt.outcome
    assert "healed" not in scene.core.summary()


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": 8, "accumulate": 8},
        {"batch": 8, "accumulate": None},  # not set up yet
        {"batch": None, "accumulate": None, "run_dir": None},
        {"batch": 32, "accumulate": 1, "train_calls": 2},  # the program's next training
    ],
)
def test_what_is_as_planned_or_unknown_is_trusted(scene: Scene, changes: dict[str, object]) -> None:
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out()
    scene.connect(2)
    assert scene.describe(2, **changes) == []


def test_an_attempt_that_does_not_end_when_it_is_asked_to_is_killed(scene: Scene) -> None:
    healed_once(scene)
    scene.describe(2, batch=16, accumulate=4)
    assert scene.wait(POLICY.kill_grace_seconds - 1) == []
    assert Signal(process(11), signal.SIGKILL) in scene.wait(1)
    scene.exit(None, signal.SIGKILL)
    scene.gone(2)
    assert (scene.status(), scene.restored()) == (137, [CHANGE.path])


def test_the_trainers_own_retry_in_a_new_attempt_is_no_mismatch(scene: Scene) -> None:
    healed_once(scene)
    scene.tell("retry", 2, batch_before=8, text="")
    assert scene.describe(2, batch=4, accumulate=16) == []
    assert Signal(process(11), signal.SIGTERM) in scene.describe(2, batch=4, accumulate=8)


# ---------------------------------------------------------------- failures after a remediation


def test_another_failure_after_a_remediation_is_given_up(scene: Scene) -> None:
    healed_once(scene)
    scene.fail(NOT_OOM, 2)
    scene.exit(4)
    assert RestoreFiles((CHANGE,)) in scene.gone(2)
    assert scene.status() == 4
    assert scene.said[-1].startswith("not restarted again: It ended with ValueError")
    (receipt,) = scene.core.healing.receipts
    assert receipt.failed
    assert scene.incidents()[0].outcome == receipt.outcome


def test_files_stay_changed_once_an_epoch_was_trained_with_them(scene: Scene) -> None:
    healed_once(scene)
    scene.train(12, 2)
    scene.fail(NOT_OOM, 2)
    scene.exit(4)
    scene.gone(2)
    assert (scene.status(), scene.restored()) == (4, [])


def test_being_killed_after_a_remediation_is_given_up_and_an_interruption_is_obeyed(
    tmp_path: Path,
) -> None:
    for number, gives_up in ((signal.SIGKILL, True), (signal.SIGINT, False)):
        folder = tmp_path / str(number)
        folder.mkdir()
        scene = Scene(folder)
        scene.start()
        healed_once(scene)
        scene.exit(None, number)
        scene.gone(2)
        assert scene.status() == 128 + number
        assert (scene.restored() == [CHANGE.path]) == gives_up


def test_attempts_without_progress_end_when_the_budget_is_spent(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Policy(attempts_without_progress=2))
    scene.start()
    scene.train()  # attempt 0 completed epochs: that is progress
    connection, batch = 1, 16
    while scene.status() is None:
        scene.run_out_of_memory(connection)
        if scene.status() is not None:
            break
        batch = scene.asked().remediation.plan.edits.batch or 0
        scene.carry_out()
        connection += 1
        scene.connect(connection)
        scene.describe(connection, batch=batch, accumulate=64 // batch)
    assert scene.core.attempts == 3
    assert scene.status() == 1
    assert "The run makes no progress: the last 2 attempts" in scene.said[-1]
    assert scene.restored() == [CHANGE.path], "as they were before the first remediation"
    outcomes = [receipt.outcome for receipt in scene.core.healing.receipts]
    assert all(outcome.startswith("failed again: CUDA out of memory") for outcome in outcomes)
    assert len(outcomes) == 2
    assert scene.outcomes() == ["cuda-oom"] * 3


def test_a_final_validation_that_does_not_fit_ends_a_training_that_is_whole(scene: Scene) -> None:
    scene.train()
    scene.run_out_of_memory()
    scene.carry_out()
    scene.connect(2)
    scene.describe(2, batch=8, accumulate=8)
    scene.tell("checkpoint", 2, path=LAST, epoch=99, step=900)
    scene.fail(build.failed(phase="validation", epoch=99), connection=2)
    scene.exit()
    scene.gone(2)
    assert scene.status() == 1
    assert scene.said[-1].startswith("not restarted: All is trained and saved")
    assert scene.restored() == []
    (receipt,) = scene.core.healing.receipts
    assert receipt.outcome == "finished"
    first, _final = (each.outcome for each in scene.incidents())
    assert first == "healed"


def test_attempts_that_make_progress_may_fail_as_often_as_they_like(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Policy(attempts_without_progress=1))
    scene.start()
    scene.train(0)
    for connection in range(1, 4):
        scene.run_out_of_memory(connection)
        batch = scene.asked().remediation.plan.edits.batch or 0
        scene.carry_out()
        scene.connect(connection + 1)
        scene.describe(connection + 1, batch=batch, accumulate=64 // batch)
        scene.tell("epoch_end", connection + 1, epoch=connection)
    scene.exit(0)
    scene.gone(4)
    assert scene.status() == 0
    assert scene.said[-1] == "finished: the run ran out of memory 3 times and was healed"
    assert scene.restored() == []


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_cannot_be_carried_out_ends_the_run(scene: Scene, step: str) -> None:
    scene.train()
    scene.fail()
    scene.exit(9)
    scene.gone()
    scene.carry_out(step)
    scene.failed("the reason")
    assert scene.status() == 9
    assert f"the remediation was abandoned: {step}: the reason" in scene.said
    assert scene.steps()[-1] == (step, "failed")
    rewritten = STEPS.index(step) > STEPS.index("rewrite")
    assert scene.restored() == ([CHANGE.path] if rewritten else [])
    (plan,) = scene.plans()
    assert plan.ended is not None


def test_an_answer_that_nobody_waits_for_is_ignored(scene: Scene) -> None:
    scene.train()
    scene.run_out_of_memory()
    plan = scene.asked().remediation.plan_id
    assert scene.step(events.StepDone("other", "stop", "", scene.at)) == []
    assert scene.step(events.StepDone(plan, "wait", "", scene.at, {"seconds": 1.0})) == []
    assert scene.step(events.StepFailed(plan, "vault", "", scene.at)) == []
    scene.done()
    assert scene.step(events.StepDone(plan, "stop", "", scene.at)) == []
    assert [step.step for step in scene.of(RunStep)] == ["stop", "vault"]


# ---------------------------------------------------------------- refusals


def test_a_second_training_of_the_same_program_is_not_run_twice(scene: Scene) -> None:
    scene.train()
    scene.describe(train_calls=2, entry="script", run_dir="/runs/train2")
    scene.run_out_of_memory()
    assert scene.status() == 1
    assert "Nothing is run twice." in scene.said[-1]
    assert (scene.plans(), scene.of(RunStep)) == ((), [])
    (incident,) = scene.incidents()
    assert (incident.outcome or "").startswith("refused: ")


def test_a_failure_that_the_program_handled_is_its_own_affair(scene: Scene) -> None:
    scene.train()
    scene.fail(HANDLED)
    scene.exit(5)
    scene.gone()
    assert scene.status() == 5
    assert scene.said[-1].startswith("not restarted: Nothing is changed: The program itself")
    assert scene.plans() == ()


def test_a_training_that_another_program_started_is_not_started_again(scene: Scene) -> None:
    """A sweep, a launcher, a shell script: it would be run as a whole."""
    scene.step(events.HookConnected(process(50), 0, 2))
    scene.train(connection=2)
    scene.fail(connection=2)
    scene.gone(2)
    scene.exit(1)
    scene.gone()
    assert scene.status() == 1
    assert "was started by another program" in scene.said[-1]
    assert scene.plans() == ()


def test_a_training_that_was_never_described_is_not_started_again(scene: Scene) -> None:
    scene.run_out_of_memory()
    assert scene.status() == 1
    assert scene.said[-1] == "not restarted: the hook did not tell what is trained"


def test_a_run_that_cannot_be_smaller_is_refused_with_the_reason(tmp_path: Path) -> None:
    scene = Scene(tmp_path, batch=1, accumulate=64)
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    assert scene.status() == 1
    assert "It cannot fit: it failed at batch 1" in scene.said[-1]
    assert (scene.restored(), scene.core.healing.refused) == ([], 1)


def test_the_users_batch_is_the_one_before_the_trainers_own_retry(scene: Scene) -> None:
    scene.describe()
    scene.tell("retry", batch_before=16, text="")
    scene.describe(batch=8, accumulate=8)
    scene.run_out_of_memory()
    plan = scene.asked().remediation.plan
    assert (plan.original.batch, plan.effective_batch, plan.edits.batch) == (16, 64, 4)


@pytest.mark.parametrize(
    ("events_before", "saved"), [("", False), ("checkpoint", True), ("resumed", True)]
)
def test_only_a_checkpoint_of_this_run_is_resumed_from(
    scene: Scene, events_before: str, saved: bool
) -> None:
    """With `exist_ok=True` another training's last.pt may lie in the same directory."""
    scene.describe(resumed=events_before == "resumed")
    if events_before == "checkpoint":
        scene.tell("checkpoint", path=LAST, epoch=0, step=5)
    scene.run_out_of_memory()
    assert scene.asked().remediation.saved is saved
    assert scene.asked().remediation.checkpoint == LAST


def test_a_checkpoint_of_an_earlier_attempt_is_still_this_runs(scene: Scene) -> None:
    healed_once(scene)
    scene.run_out_of_memory(2)
    assert scene.asked().remediation.saved


def test_starting_afresh_is_said(scene: Scene) -> None:
    scene.describe()
    scene.run_out_of_memory()
    scene.done()
    scene.done(resume=ResumePoint(Start.AFRESH, "this run has saved no checkpoint yet"))
    scene.carry_out()
    afresh = "attempt 1 started afresh (this run has saved no checkpoint yet)"
    assert scene.said[-1].startswith(afresh)
    (receipt,) = scene.core.healing.receipts
    assert (receipt.costs.epochs_kept, receipt.costs.steps_lost) == (0, 500)


# ---------------------------------------------------------------- the host's memory


NO_CACHE = replace(
    build.failed(phase="setup", batch=None, side=None, epoch=None),
    exception="MemoryError",
    text="Unable to allocate 1.17 MiB for an array with shape (640, 640, 3) and data type uint8",
)


def test_a_cache_that_does_not_fit_is_answered_before_the_training_is_set_up(scene: Scene) -> None:
    unknown = {"accumulate": None, "effective_weight_decay": None}
    scene.describe(**unknown, cache="ram", workers=8)
    assert scene.core.user is None
    scene.fail(NO_CACHE)
    scene.exit()
    scene.gone()
    assert scene.asked().remediation.plan.edits == Edits(cache="disk")
    scene.carry_out()
    scene.connect(2)
    scene.describe(2, **unknown, cache="disk", workers=8)
    scene.describe(2, cache="disk", workers=8)
    assert scene.core.user is not None
    assert scene.core.user.accumulate == 4, "known from now on"
    assert scene.signals() == []
    scene.tell("bye", 2, finished=True)
    scene.exit(0)
    scene.gone(2)
    assert scene.core.summary() == "finished, healed"
    assert scene.core.healing.receipts[-1].outcome == "finished"


@pytest.mark.parametrize(
    "spec", [{"cache": "ram"}, {"workers": 8}, {"pin_memory": True}], ids=lambda s: next(iter(s))
)
def test_a_lever_for_the_host_that_is_not_in_force_ends_the_attempt(
    spec: dict[str, object],
) -> None:
    edits = Edits(cache="disk", workers=4, pin_memory=False)
    given = {"cache": "disk", "workers": 4, "pin_memory": False}
    user = replace(build.SPEC, **given)
    assert mismatch(edits, user, user) is None
    assert mismatch(edits, user, replace(user, **spec)) is not None  # type: ignore[arg-type]
    unknown = dict.fromkeys(spec)
    assert mismatch(edits, user, replace(user, **unknown)) is None  # type: ignore[arg-type]
