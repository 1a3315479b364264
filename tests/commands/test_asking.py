"""`status`, `approve`, `pause`, `resume` and `rollback`, through the front door."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.commands.scripted import TRAINING, VIEW, WAITING, Daemon
from yolowatch.commands import asking
from yolowatch.commands.main import main
from yolowatch.edges import control_client
from yolowatch.errors import ServiceError
from yolowatch.model.control import Approve, Pause, ResumeRun, Rollback
from yolowatch.model.forecast import Outlook


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon that the commands find by themselves, as the one of who asks."""
    found = Daemon(tmp_path / "control.sock")
    monkeypatch.setattr(control_client, "socket_path", lambda environ: found.path)
    yield found
    found.close()


Captured = pytest.CaptureFixture[str]


def said(capsys: Captured, *words: str, status: int = 0) -> str:
    """What was printed to standard output, or of a failure to standard error."""
    assert main(words) == status
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return err if status else out


def test_status_shows_the_service_its_gpus_and_runs(daemon: Daemon, capsys: Captured) -> None:
    lines = said(capsys, "status").splitlines()
    assert lines[0] == "yolowatch 1.0, mode recommend"
    assert lines[1].startswith("GPU 0 NVIDIA H200: 70.0 GiB of 139.0 GiB used")
    assert lines[3].split() == [
        "run",
        "user",
        "state",
        "mode",
        "epoch",
        "batch",
        "headroom",
        "directory",
    ]
    cells = "a1b2c3d4 alice training auto 3/100 16 × 4 4.0 GiB (40%) /home/alice/runs/train"
    assert lines[4].split() == cells.split()
    assert lines[-1].startswith("waiting for approval: b0b0c3d4")
    assert not {"\x1b", "\x07", "\u202e"} & set("".join(lines))


def test_status_says_what_is_wrong(daemon: Daemon, capsys: Captured) -> None:
    daemon.view = replace(VIEW, paused=True, config_trouble="mode must be …\x1b[2J", runs=())
    text = said(capsys, "status")
    assert "paused: nothing is acted on" in text
    assert "The last change of /etc/yolowatch/yolowatch.yaml was not taken: mode must" in text
    assert "no trainings of yours are watched" in text
    assert "\x1b" not in text


def test_status_of_one_run_says_all_of_it(daemon: Daemon, capsys: Captured) -> None:
    text = said(capsys, "status", "a1b2")
    assert "run a1b2c3d4: training" in text
    assert "alice (1001), process 4321, a hook reports" in text
    assert "ultralytics yolo11n.pt 640 px bf16" in text
    assert "attempt 0, epoch 3/100, forward, step 42" in text
    assert "16 × 4 = effective batch 64" in text
    assert "auto: the rule of user alice" in text
    text = said(capsys, "status", "b0b0")
    assert "p7 waits for approval: it is predicted to fit" in text
    assert "batch 64 becomes 32" in text
    assert "yolowatch approve b0b0c3d4" in text


def test_status_of_one_run_says_what_is_still_to_come(daemon: Daemon, capsys: Captured) -> None:
    worst = Outlook("validation", 9 << 30, 11 << 30, 0.25, 10 << 30)
    daemon.view = replace(VIEW, runs=(replace(TRAINING, outlook=worst),))
    text = " ".join(said(capsys, "status", "a1b2").split())
    assert "forecast 9.0 GiB in validation, in 99 of 100 cases at most 11.0 GiB" in text
    assert "probability of too little memory 25%" in text
    run = json.loads(said(capsys, "status", "--json", "a1b2"))["run"]
    assert run["outlook"]["bound_bytes"] == 11 << 30


def test_what_a_training_says_is_made_harmless(daemon: Daemon, capsys: Captured) -> None:
    text = said(capsys, "status", "e111")
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "\\x1b[2J" in text


def test_a_machine_gets_json(daemon: Daemon, capsys: Captured) -> None:
    view = json.loads(said(capsys, "status", "--json"))
    assert view["ok"] is True
    assert [run["run"] for run in view["runs"]] == [run.run for run in VIEW.runs]
    run = json.loads(said(capsys, "status", "--json", "a1b2"))["run"]
    assert run["memory"]["headroom_bytes"] == TRAINING.memory.headroom_bytes
    assert json.loads(said(capsys, "pause", "--json"))["said"].startswith("paused")


def test_the_verbs_become_commands(daemon: Daemon, capsys: Captured) -> None:
    daemon.view = replace(VIEW, runs=(replace(TRAINING, replaced_files=2), WAITING))
    assert "plan p7 of run b0b0c3d4 is approved" in said(capsys, "approve", "b0b0")
    assert "approved" in said(capsys, "approve", "--plan", "p7", "b0b0")
    assert "everything is observed" in said(capsys, "pause")
    assert "run a1b2c3d4 is paused" in said(capsys, "pause", "a1b2c3d4")
    assert "in force again" in said(capsys, "resume")
    assert "mode auto" in said(capsys, "resume", "a1b2")
    assert "are as they were" in said(capsys, "rollback", "a1b2")
    assert daemon.commands == [
        Approve("b0b0c3d4", "p7"),
        Approve("b0b0c3d4", "p7"),
        Pause(None),
        Pause("a1b2c3d4"),
        ResumeRun(None),
        ResumeRun("a1b2c3d4"),
        Rollback("a1b2c3d4"),
    ]


def test_a_refusal_is_the_daemons_sentence_and_109(daemon: Daemon, capsys: Captured) -> None:
    text = said(capsys, "approve", "a1b2", status=109)
    assert "No plan of run a1b2c3d4 waits for approval: it is training" in text
    assert "No run of yours is called ffff" in said(capsys, "status", "ffff", status=109)
    assert "Plan p1 of run b0b0c3d4 waits no more" in said(
        capsys, "approve", "--plan", "p1", "b0b0", status=109
    )
    assert daemon.commands == []


def test_without_a_daemon_it_is_108_and_the_cure(tmp_path: Path, capsys: Captured) -> None:
    path = str(tmp_path / "control.sock")
    for verb in (["status"], ["approve", "a1"], ["pause"], ["resume"], ["rollback", "a1"]):
        text = said(capsys, verb[0], "--socket", path, *verb[1:], status=108)
        assert f"No yolowatch daemon listens at {path}: start one with `yolowatch daemon`" in text


def test_the_command_line_is_120(daemon: Daemon, capsys: Captured) -> None:
    assert "required: RUN" in said(capsys, "approve", status=120)
    assert "run must be a run's id" in said(capsys, "pause", "x" * 65, status=120)
    assert "did you mean" in said(capsys, "stauts", status=120)


def test_a_daemon_of_another_version_is_a_sentence() -> None:
    for read in (asking.fleet, asking.run):
        for answer in ({"ok": True}, {"ok": True, "run": 1}, {"ok": True, "run": {"id": "a"}}):
            with pytest.raises(ServiceError, match="words of another version: restart it"):
                read(answer)


@pytest.mark.parametrize("verb", ["status", "top", "approve", "pause", "resume", "rollback"])
def test_help_is_there(verb: str, capsys: Captured) -> None:
    assert "--socket PATH" in said(capsys, verb, "--help")
