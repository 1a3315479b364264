"""The service's hands on runs of their own user: real processes, real files."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.daemon.parts import EDITS, RunDir, plan, spec
from tests.hands.strangers import ROOT, end, home, settle, stranger
from yolowatch.edges.captures import CaptureStore
from yolowatch.edges.nvml import NoNvml
from yolowatch.edges.proc import is_alive, process_key
from yolowatch.errors import CaptureError
from yolowatch.hands.in_process import InProcessHands
from yolowatch.hands.launching import Hooking
from yolowatch.hands.port import ServiceHands
from yolowatch.model.actions import Remediation, RestoreFiles, RunStep, VaultCheckpoint
from yolowatch.model.events import (
    CheckpointRefused,
    CheckpointVaulted,
    Event,
    ProcessExited,
    StepDone,
    StepFailed,
)
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Policy
from yolowatch.model.receipt import ResumePoint

# What the fake trainer was given is what it tells; a real one is in tests/faults.
TRAIN = ("/bin/sh", "-c", 'echo "attempt ${YOLOWATCH_ATTEMPT:-0} of $OWNER"; exec sleep 600')
ENVIRONMENT = {"PATH": os.defpath, "OWNER": "me", "PYTHONPATH": "/mine"}


@dataclass
class Service:
    """Hands, and what they post."""

    hands: ServiceHands
    posted: queue.Queue[tuple[str | None, Event]]

    def next(self) -> tuple[str | None, Event]:
        return self.posted.get(timeout=20)

    def exit(self) -> ProcessKey:
        run, event = self.next()
        assert isinstance(event, ProcessExited), event
        assert (run, event.status, event.signal) == (None, None, None)
        return event.process


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    posted: queue.Queue[tuple[str | None, Event]] = queue.Queue()

    def post(run: str | None, event: Event) -> bool:
        posted.put((run, event))
        return True

    hands: ServiceHands = InProcessHands(
        Hooking(tmp_path / "stage", tmp_path / "hook.sock"),
        lambda _run: Policy(kill_grace_seconds=5.0),
        NoNvml("no driver"),
        post,
        CaptureStore(tmp_path / "captures"),
        grace_seconds=lambda: 0.0,
    )
    yield Service(hands, posted)
    hands.close()


@pytest.fixture
def place() -> Iterator[Path]:
    with home(os.geteuid(), os.getegid()) as path:
        yield path


def begun(place: Path, log: Path) -> object:
    return stranger(
        TRAIN,
        place,
        log=log,
        environment=ENVIRONMENT,
        uid=os.geteuid(),
        gid=os.getegid(),
        groups=os.getgroups(),
    )


def order(folder: RunDir, *processes: ProcessKey) -> Remediation:
    user = spec(run_dir=str(folder.path), entry="script")
    return Remediation("plan", plan(), user, 0, str(folder.path), str(folder.last), True, processes)


def test_a_training_is_healed_step_by_step(service: Service, place: Path) -> None:
    folder, log = RunDir(place / "run"), place / "train.log"
    before = folder.content()
    hands = service.hands
    with begun(place, log) as other:  # type: ignore[attr-defined]
        settle(lambda: log.read_text() == "attempt 0 of me\n")
        found = hands.capture("r1", other.key)
        assert (found.uid, found.argv, found.cwd) == (
            os.geteuid(),
            ("sleep", "600"),
            str(place),
        )
        hands.watch(other.key)
        hands.vault("r1", VaultCheckpoint(str(folder.last), str(folder.path), 0, 3))
        run, event = service.next()
        assert isinstance(event, CheckpointVaulted), event
        assert (run, event.epoch) == ("r1", 3)
        remediation = order(folder, other.key)
        results: dict[str, object] = {}
        resume: ResumePoint | None = None
        process: ProcessKey | None = None
        for step in ("stop", "vault", "rewrite", "wait", "relaunch"):
            if step == "stop":
                assert hands.signal(other.key, signal.SIGTERM)
                assert service.exit() == other.key
                other.popen.wait()
            done = hands.step("r1", RunStep(remediation, step, resume))
            assert isinstance(done, StepDone), done
            results |= done.result
            resume = done.result.get("resume", resume)
            process = done.result.get("process")
    assert process is not None
    try:
        hands.watch(process)
        assert folder.configuration()["batch"] == EDITS.batch
        environ = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"YOLOWATCH_ATTEMPT=1\0" in environ
        assert b"OWNER=me\0" in environ
        assert hands.restore("r1", RestoreFiles(results["files"])) == []  # type: ignore[arg-type]
        assert folder.content() == before
        assert hands.signal(process, signal.SIGKILL)
        assert service.exit() == process
        gone = process  # once its new parent has reaped it
        settle(lambda: not hands.signal(gone, signal.SIGKILL))
    finally:
        end(process)


def test_an_earlier_attempt_that_is_captured_keeps_one_hook(
    service: Service, place: Path, tmp_path: Path
) -> None:
    folder, stage = RunDir(place / "run"), str(tmp_path / "stage")
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{stage}:/mine", "YOLOWATCH_EDITS": "{}"}
    with stranger(
        ("sleep", "600"), place, environment=environment, uid=os.geteuid(), gid=os.getegid(),
        groups=os.getgroups(),
    ) as other:  # fmt: skip
        settle(lambda: Path(f"/proc/{other.key.pid}/environ").read_bytes() != b"")
        service.hands.capture("r1", other.key)
    done = service.hands.step("r1", RunStep(order(folder), "relaunch"))
    assert isinstance(done, StepDone), done
    process = done.result["process"]
    try:
        environ = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        assert f"PYTHONPATH={stage}:/mine".encode() in environ
        assert not [each for each in environ if each.startswith(b"YOLOWATCH_EDITS")]
    finally:
        end(process)


def test_what_was_not_captured_is_not_touched(service: Service, place: Path) -> None:
    folder = RunDir(place / "run")
    before = folder.content()
    for run in ("never", "forgotten"):
        service.hands.forget(run)
        for step in ("stop", "vault", "rewrite", "wait", "relaunch"):
            done = service.hands.step(run, RunStep(order(folder), step))
            assert isinstance(done, StepFailed)
            assert "was not captured" in done.reason
        assert service.hands.restore(run, RestoreFiles(())) != []
        service.hands.vault(run, VaultCheckpoint(str(folder.last), str(folder.path), 0, 3))
        assert isinstance(service.next()[1], CheckpointRefused)
    assert folder.content() == before


@pytest.mark.skipif(not ROOT, reason="needs root to have another's process")
def test_another_users_run_is_the_helpers(service: Service) -> None:
    with home() as place, stranger(("sleep", "600"), place) as other:
        settle(lambda: Path(f"/proc/{other.key.pid}/environ").read_bytes() != b"")
        with pytest.raises(CaptureError, match="only the helper may touch"):
            service.hands.capture("r1", other.key)


def test_what_has_ended_is_told_at_once_and_everything_once(service: Service) -> None:
    child = subprocess.Popen(["sleep", "600"])
    key = process_key(child.pid)
    assert key is not None
    service.hands.watch(key)
    service.hands.watch(key)
    child.kill()
    child.wait()
    assert service.exit() == key
    assert is_alive(key) is False
    service.hands.watch(key)
    stale = replace(key, pid=os.getpid())
    service.hands.watch(stale)
    assert [service.exit(), service.exit()] == [key, stale]
    assert service.posted.empty()
