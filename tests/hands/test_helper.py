"""The root helper as it is used: an unprivileged core, root, and trainings of other users."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.parts import EDITS
from tests.hands.helping import Hands, Helper, Training, helper, training
from tests.hands.strangers import GID, GROUPS, ROOT, UID, end, home, settle
from yolowatch.edges.capture import capture
from yolowatch.edges.proc import is_alive
from yolowatch.errors import CaptureError
from yolowatch.model.actions import RestoreFiles, RunStep, VaultCheckpoint
from yolowatch.model.events import (
    CheckpointRefused,
    CheckpointVaulted,
    ProcessExited,
    StepDone,
    StepFailed,
)
from yolowatch.model.identity import ProcessKey
from yolowatch.model.receipt import ResumePoint

pytestmark = pytest.mark.skipif(not ROOT, reason="needs root to be a helper, and two users more")


@pytest.fixture(scope="module")
def running() -> Iterator[Helper]:
    with helper() as found:
        yield found


@pytest.fixture
def core(running: Helper) -> Iterator[Hands]:
    found = Hands(running)
    yield found
    found.hands.close()


@pytest.fixture
def run() -> Iterator[Training]:
    with home() as place, training(place) as found:
        yield found


def heal(core: Hands, run: Training, *steps: str) -> tuple[ProcessKey | None, dict[str, object]]:
    """Carry out the steps; the new process, and all that they found."""
    order, found = run.order(), dict[str, object]()
    for step in steps:
        resume = found.get("resume")
        assert resume is None or isinstance(resume, ResumePoint)
        done = core.hands.step("r1", RunStep(order, step, resume))
        assert isinstance(done, StepDone), done
        found |= done.result
    process = found.get("process")
    assert process is None or isinstance(process, ProcessKey)
    return process, found


def test_a_training_is_healed_as_its_own_user(core: Hands, run: Training, running: Helper) -> None:
    before, hands = run.folder.content(), core.hands
    found = hands.capture("r1", run.key)
    assert (found.uid, found.gid, found.cwd) == (UID, GID, str(run.place))
    assert found.argv[-2:] == (str(run.place / "train.py"), "run")
    captured = capture(run.key)
    path = str(run.folder.path)
    hands.vault("r1", VaultCheckpoint(str(run.folder.last), path, 0, 3))
    whose, event = core.next()
    assert isinstance(event, CheckpointVaulted), event
    assert (whose, event.epoch) == ("r1", 3)
    assert os.stat(event.copy).st_uid == UID
    hands.watch(run.key)
    process, results = heal(core, run, "stop", "vault", "rewrite", "wait", "relaunch")
    run.process.popen.wait()
    whose, event = core.next()
    assert isinstance(event, ProcessExited)
    assert (whose, event.process) == (None, run.key)
    assert process is not None
    try:
        settle(lambda: run.log.read_text().count("\n") == 2)
        assert run.log.read_text() == f"attempt 0 of {UID} s3cret\nattempt 1 of {UID} s3cret\n"
        again = capture(process)
        for name in ("uid", "gid", "groups", "cwd", "limits", "umask", "affinity", "nice"):
            assert getattr(again, name) == getattr(captured, name), name
        environment = dict(again.environment)
        stage = environment.pop("PYTHONPATH").removesuffix(":/mine")
        assert os.stat(f"{stage}/sitecustomize.py").st_mode & 0o777 == 0o444
        assert environment.pop("YOLOWATCH_SOCKET") == str(running.folder / "hook.sock")
        assert environment.pop("YOLOWATCH_ATTEMPT") == "1"
        assert '"batch": 8' in environment.pop("YOLOWATCH_EDITS")
        assert environment.pop("YOLOWATCH_EMERGENCY") == "complete"
        environment["PYTHONPATH"] = "/mine"
        assert environment == dict(captured.environment)
        assert sorted(again.groups) == sorted(GROUPS)
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t0" in status, "the worker's bounds are not the training's"
        assert "Seccomp:\t0" in status

        assert run.folder.configuration()["batch"] == EDITS.batch
        assert run.folder.args.stat().st_uid == UID
        files = results["files"]
        assert isinstance(files, tuple)
        assert hands.restore("r1", RestoreFiles(files)) == []
        content = run.folder.content()
        assert content == before
        assert hands.signal(process, signal.SIGTERM)
        settle(lambda: is_alive(process) is False)
    finally:
        end(process)
        hands.forget("r1")
    journal = running.journal.read_text()
    assert "step run=r1 subject=relaunch said=done" in journal
    assert "s3cret" not in journal
    assert not list((running.folder / "private").iterdir()), "forgotten with the run"


def test_a_successor_of_the_helper_goes_on_where_it_was_killed(run: Training) -> None:
    with helper() as running:
        core = Hands(running)
        core.hands.capture("r1", run.key)
        _, found = heal(core, run, "stop", "vault")
        run.process.popen.wait()
        running.end(signal.SIGKILL)
        order, resume = run.order(), found["resume"]
        assert isinstance(resume, ResumePoint)
        failed = core.hands.step("r1", RunStep(order, "rewrite", resume))
        assert isinstance(failed, StepFailed)
        assert "helper" in failed.reason
        running.start()
        core.connect()
        process: ProcessKey | None = None
        for step in ("rewrite", "relaunch", "relaunch"):
            done = core.hands.step("r1", RunStep(order, step, resume))
            assert isinstance(done, StepDone), done
            before, process = process, done.result.get("process")
        assert process is not None
        assert process == before, "an attempt is executed once"
        running.end(signal.SIGKILL)
        assert is_alive(process), "a training does not end with the helper"
        running.start()
        core.connect()
        core.hands.vault("r1", VaultCheckpoint(order.checkpoint, order.run_dir, 1, 3))
        assert core.hands.signal(process, signal.SIGKILL), "and the next one knows whose it is"
        settle(lambda: is_alive(process) is False)
        core.hands.close()


def test_a_worker_that_is_killed_is_replaced(core: Hands, run: Training) -> None:
    core.hands.capture("r1", run.key)
    heal(core, run, "vault")
    found = subprocess.run(
        ["pgrep", "-u", str(UID), "-f", "hands.helper.worker"], capture_output=True, text=True
    )
    for pid in map(int, found.stdout.split()):
        os.kill(pid, signal.SIGKILL)
    settle(lambda: isinstance(core.hands.step("r1", RunStep(run.order(), "vault")), StepDone))
    core.hands.forget("r1")


def test_what_the_helper_would_not_touch_is_a_sentence(core: Hands, run: Training) -> None:
    core.hands.capture("r1", run.key)
    path = str(run.folder.path)
    core.hands.vault("r1", VaultCheckpoint(f"{path}/elsewhere.pt", path, 0, 3))
    _, event = core.next()
    assert isinstance(event, CheckpointRefused)
    assert "none of the files that the helper touches" in event.reason
    core.hands.vault("r1", VaultCheckpoint(f"{path}/weights/best.pt", path, 0, 3))
    _, event = core.next()
    assert isinstance(event, CheckpointRefused)
    assert "best.pt" in event.reason
    with pytest.raises(CaptureError, match="has ended"):
        core.hands.capture("r2", ProcessKey(run.key.boot_id, run.key.pid, 1))
    failed = core.hands.step("r3", RunStep(run.order(), "stop"))
    assert isinstance(failed, StepFailed)
    assert "never captured" in failed.reason
    core.hands.forget("r1")


def test_without_a_helper_everything_is_refused_and_nobody_waits(tmp_path: Path) -> None:
    running = type("Gone", (), {"socket": tmp_path / "none.sock"})()
    core = Hands(running)
    with pytest.raises(CaptureError, match=r"cannot be reached .* is yolowatch-helper.socket"):
        core.hands.capture("r1", ProcessKey("0" * 36, os.getpid(), 1))
    with pytest.raises(PermissionError):
        core.hands.signal(ProcessKey("0" * 36, os.getpid(), 1), signal.SIGTERM)
    core.hands.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--core-user", "nobody-of-that-name"], "There is no user nobody-of-that-name"),
        (["--core-user", "1234"], "has no socket"),
    ],
)
def test_the_program_says_what_it_lacks(tmp_path: Path, arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "yolowatch.hands.helper", *arguments]
    for name in ("state", "stage"):
        command += [f"--{name}-dir", str(tmp_path / name)]
    done = subprocess.run(
        [*command, "--hook-socket", "/run/hook.sock"], capture_output=True, text=True
    )
    assert words in done.stderr
    assert done.returncode in (120, 123)
