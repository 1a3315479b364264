"""Each step of a plan, carried out on real files and real processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.parts import EDITS, Bench, FakeHands, write_checkpoint
from tests.daemon.scenes import process
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.files import sha256
from yolowatch.edges.proc import is_alive, process_key
from yolowatch.hands.local import LocalHands
from yolowatch.model.actions import RestoreFiles
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Edits, Policy, Start
from yolowatch.model.receipt import FileChange, ResumePoint
from yolowatch.trainers import ultralytics

RESUME = ResumePoint(Start.RESUME, "the checkpoint is whole", "/last.pt", 2, "ab")
AFRESH = ResumePoint(Start.AFRESH, "nothing was saved")
OWNER = 1234 if os.geteuid() == 0 else os.geteuid()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# ---------------------------------------------------------------- stop


class Child:
    """A real process of the failed attempt that does not end by itself."""

    def __init__(self, program: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", f"import signal, time\n{program}\nprint('ready', flush=True)\n"
             "while True: time.sleep(60)"],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.popen.stdout is not None
        assert self.popen.stdout.readline() == "ready\n"
        key = process_key(self.popen.pid)
        assert key is not None
        self.key = key

    def __enter__(self) -> ProcessKey:
        return self.key

    def __exit__(self, *_: object) -> None:
        assert self.popen.stdout is not None
        self.popen.stdout.close()
        self.popen.kill()
        self.popen.wait()


def test_what_has_ended_need_not_be_stopped(tmp_path: Path) -> None:
    with Child("pass") as key:
        pass
    bench = Bench(tmp_path, hands=FakeHands())
    bench.done("stop", processes=(key, ProcessKey("another boot", os.getpid(), 1)))
    assert isinstance(bench.hands, FakeHands)
    assert bench.hands.signals == []


@pytest.mark.parametrize(
    ("program", "ending"),
    [
        ("pass", signal.SIGTERM),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", signal.SIGKILL),
    ],
)
def test_what_lives_on_gets_term_and_then_kill(tmp_path: Path, program: str, ending: int) -> None:
    policy = Policy(kill_grace_seconds=0.3)
    bench = Bench(tmp_path, hands=LocalHands(), clock=SystemClock(), policy=policy)
    child = Child(program)
    with child as key:
        bench.done("stop", processes=(key,))
        assert is_alive(key) is False
        assert child.popen.wait(10) == -ending


def test_what_cannot_be_ended_is_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path, hands=FakeHands())  # its signals reach nobody
    with Child("pass") as key:
        assert str(key.pid) in bench.refused("stop", processes=(key,))
        assert is_alive(key)
    assert isinstance(bench.hands, FakeHands)
    assert bench.hands.signals == [(key, signal.SIGTERM), (key, signal.SIGKILL)]


# ---------------------------------------------------------------- vault


def test_the_checkpoint_is_found_once_it_has_been_copied(bench: Bench) -> None:
    before = bench.dir.content()
    point = bench.done("vault")["resume"]
    content = before["weights/last.pt"]
    assert (point.start, point.epoch, point.sha256) == (Start.RESUME, 3, sha256(content))
    assert bench.dir.content() == before


def test_a_run_that_saved_nothing_starts_afresh_whatever_lies_there(bench: Bench) -> None:
    before = bench.dir.content()  # with another training's last.pt
    point = bench.done("vault", saved=False)["resume"]
    assert point == ResumePoint(Start.AFRESH, "this run has saved no checkpoint yet")
    assert bench.dir.content() == before


def test_a_finished_run_is_refused_and_nothing_is_overwritten(bench: Bench) -> None:
    write_checkpoint(bench.dir.last, -1, optimizer=False)
    before = bench.dir.content()
    reason = bench.refused("vault")
    assert reason.endswith("last.pt cannot be resumed: it is of a finished training")
    assert bench.dir.content() == before


@pytest.mark.parametrize(("resumed", "start"), [(True, Start.RESUME), (False, Start.AFRESH)])
def test_a_copy_of_another_supervision_is_only_used_by_a_resumed_run(
    tmp_path: Path, resumed: bool, start: Start
) -> None:
    bench = Bench(tmp_path, resumed=resumed)
    folder, last = str(bench.dir.path), bench.dir.last
    other = Bench(tmp_path)  # watched the same directory before
    other.vaults.of(folder).store_checkpoint(last, 0, 3)
    last.write_bytes(last.read_bytes()[:1000])
    assert bench.done("vault")["resume"].start is start


# ---------------------------------------------------------------- rewrite


def test_the_configuration_tells_the_truth_and_the_table_loses_what_is_repeated(
    bench: Bench,
) -> None:
    before = bench.dir.content()
    changes = bench.done("rewrite", RESUME)["files"]
    configuration = bench.dir.configuration()
    assert (configuration["batch"], configuration["nbs"]) == (EDITS.batch, EDITS.nbs)
    assert configuration["task"] == "detect"
    assert bench.dir.epochs() == [1, 2, 3]
    after = bench.dir.content()
    assert [Path(change.path).name for change in changes] == ["args.yaml", "results.csv"]
    for change in changes:
        name = Path(change.path).name
        assert change.before == sha256(before[name])
        assert change.after == sha256(after[name])
        assert Path(change.copy).read_bytes() == before[name]
    assert after["weights/last.pt"] == before["weights/last.pt"]
    assert set(after) == set(before), "no temporary file is left"


def test_a_fresh_start_keeps_the_table_for_the_trainer_to_remove(bench: Bench) -> None:
    (change,) = bench.done("rewrite", AFRESH)["files"]
    assert Path(change.path).name == "args.yaml"
    assert bench.dir.epochs() == [1, 2, 3, 4, 5]


def test_what_is_not_there_or_right_already_is_left_alone(bench: Bench) -> None:
    first = bench.done("rewrite", RESUME)["files"]
    content = bench.dir.content()
    # Carried out once more, by a daemon after a killed one: what was changed is known, and stays.
    assert bench.done("rewrite", RESUME)["files"] == first
    assert bench.dir.content() == content
    bench.dir.args.unlink()
    bench.dir.results.unlink()
    assert bench.done("rewrite", RESUME)["files"] == ()
    assert not bench.dir.args.exists()


def test_a_configuration_that_somebody_goes_on_editing_is_theirs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite, theirs = ultralytics.rewrite_args, ["task: detect\n"]

    def while_somebody_edits(document: bytes, edits: Edits) -> bytes:
        theirs.append(theirs[-1] + "epochs: 500\n")
        bench.dir.args.write_text(theirs[-1])
        return rewrite(document, edits)

    monkeypatch.setattr(ultralytics, "rewrite_args", while_somebody_edits)
    reason = bench.refused("rewrite", RESUME)
    assert reason == f"{bench.dir.args} was changed by somebody else"
    assert bench.dir.args.read_text() == theirs[-1]
    assert bench.dir.epochs() == [1, 2, 3, 4, 5]


def test_an_edit_that_comes_in_between_is_kept_and_the_plan_made_again_of_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite, edited = ultralytics.rewrite_args, []

    def while_somebody_edits(document: bytes, edits: Edits) -> bytes:
        if not edited:
            edited.append(bench.dir.args.write_text("task: detect\nbatch: 16\nepochs: 500\n"))
        return rewrite(document, edits)

    monkeypatch.setattr(ultralytics, "rewrite_args", while_somebody_edits)
    change = bench.done("rewrite", RESUME)["files"][0]
    now = bench.dir.args.read_text()
    assert "epochs: 500\n" in now
    assert f"batch: {EDITS.batch}\n" in now
    assert Path(change.copy).read_text() == "task: detect\nbatch: 16\nepochs: 500\n"


def test_a_table_that_somebody_writes_meanwhile_undoes_the_configuration_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bench.dir.content()
    trim = ultralytics.trim_results

    def while_somebody_writes(table: bytes, kept: int) -> bytes:
        with bench.dir.results.open("a") as file:
            file.write("6,60,0.5\n")
        return trim(table, kept)

    monkeypatch.setattr(ultralytics, "trim_results", while_somebody_writes)
    assert "results.csv was changed by somebody else" in bench.refused("rewrite", RESUME)
    theirs = before["results.csv"] + b"6,60,0.5\n" * 4  # who goes on writing is left alone
    assert bench.dir.content() == before | {"results.csv": theirs}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: run.args.write_text("- a list\n"), "args.yaml holds no mapping"),
        (lambda run: run.args.write_bytes(b"\xff\0"), "args.yaml is no YAML document"),
        (lambda run: run.results.write_text("loss,epoch\n1,2\n"), "column of epochs"),
        (lambda run: (run.args.unlink(), run.args.mkdir()), "is no regular file"),
    ],
)
def test_a_file_that_is_not_understood_is_left_as_it_is(
    bench: Bench, damage: Callable[[object], object], words: str
) -> None:
    damage(bench.dir)
    before = bench.dir.content()
    assert words in bench.refused("rewrite", RESUME)
    assert bench.dir.content() == before


def test_a_trainer_that_is_only_observed_is_not_rewritten(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trainer="another")
    before = bench.dir.content()
    assert "another is a trainer that is only observed" in bench.refused("rewrite", RESUME)
    assert bench.dir.content() == before


def test_a_vault_that_cannot_be_made_prevents_every_change(bench: Bench) -> None:
    before = bench.dir.content()
    (bench.dir.path / ".yolowatch").write_text("in the way")
    assert "is no directory" in bench.refused("rewrite", RESUME)
    assert bench.dir.content() == before


# ---------------------------------------------------------------- restore


def test_originals_come_back_with_their_mode_and_owner(bench: Bench) -> None:
    before = bench.dir.content()
    bench.dir.args.chmod(0o604)
    os.chown(bench.dir.args, OWNER, -1)
    changes = bench.done("rewrite", RESUME)["files"]
    bench.dir.args.write_text("the trainer wrote it anew\n")
    assert bench.executor.restore(RestoreFiles(changes)) == []
    assert bench.dir.content() == before
    status = bench.dir.args.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o604, OWNER)


def test_what_cannot_be_put_back_is_told_and_the_rest_is_put_back(bench: Bench) -> None:
    before = bench.dir.content()
    changes = bench.done("rewrite", RESUME)["files"]
    Path(changes[0].copy).unlink()
    gone = FileChange(str(bench.dir.path / "gone"), "a", "b", changes[1].copy)
    unkept = FileChange(str(bench.dir.path / "other"), None, "b", None)
    troubles = bench.executor.restore(RestoreFiles((*changes, gone, unkept)))
    assert [trouble.split(" ")[0] for trouble in troubles] == [changes[0].path, gone.path]
    assert all("could not be put back from" in trouble for trouble in troubles)
    assert bench.dir.content()["results.csv"] == before["results.csv"]


# ---------------------------------------------------------------- wait and relaunch


def test_the_wait_tells_how_long_it_was(bench: Bench) -> None:
    assert bench.done("wait") == {"seconds": 0.0, "ready": True}


def test_the_new_process_is_reported(bench: Bench) -> None:
    assert bench.done("relaunch", RESUME) == {"process": process(71)}
    assert isinstance(bench.hands, FakeHands)
    ((command, environment, _),) = bench.hands.launches
    assert f"model={RESUME.checkpoint}" in command
    assert environment["YOLOWATCH_ATTEMPT"] == "1"


def test_a_command_that_cannot_be_started_again_is_a_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path, hands=FakeHands("The command yolo does not exist."))
    assert bench.refused("relaunch", RESUME) == "The command yolo does not exist."
    (tmp_path / "2").mkdir()
    bench = Bench(tmp_path / "2", command=("yolo", "train", "data=[a,b]"))
    assert "none is run twice" in bench.refused("relaunch", RESUME)


# ---------------------------------------------------------------- other trainers


@pytest.mark.parametrize("trainer", ["yolov5", "yolov9"])
@pytest.mark.parametrize(("point", "epochs"), [(RESUME, [1, 2]), (AFRESH, [])])
def test_a_trainer_with_two_files_that_only_adds_to_its_table(
    tmp_path: Path, trainer: str, point: ResumePoint, epochs: list[int]
) -> None:
    bench = Bench(tmp_path, trainer=trainer)
    bench.dir.args.unlink()
    options, settings = bench.dir.path / "opt.yaml", bench.dir.path / "hyp.yaml"
    options.write_text("hyp:\n  weight_decay: 0.0005\nbatch_size: 16\n")
    settings.write_text("weight_decay: 0.0005\nlr0: 0.01\n")
    changes = bench.done("rewrite", point)["files"]
    assert [Path(each.path).name for each in changes][-1] == "results.csv"
    batch, decay = EDITS.batch, EDITS.weight_decay
    assert f"batch_size: {batch}\n" in options.read_text()
    if decay is not None:
        assert f"weight_decay: {decay}\n" in settings.read_text()
        assert f"  weight_decay: {decay}\n" in options.read_text()
    assert bench.dir.epochs() == epochs


def test_a_table_that_is_refused_undoes_every_file_before_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trainer="yolov5")
    options = bench.dir.path / "opt.yaml"
    options.write_text("hyp:\n  weight_decay: 0.0005\nbatch_size: 16\n")
    (bench.dir.path / "hyp.yaml").write_text("lr0: 0.01\n")
    assert "hyp.yaml is not what the trainer writes" in bench.refused("rewrite", RESUME)
    assert options.read_text() == "hyp:\n  weight_decay: 0.0005\nbatch_size: 16\n"
