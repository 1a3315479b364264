"""How attempts are started: command, environment, and the wait for the device's memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.parts import (
    COMMAND,
    EDITS,
    Bench,
    FakeClock,
    FakeHands,
    FakeNvml,
    SeveralGpus,
    plan,
    spec,
)
from tests.daemon.scenes import process
from yolowatch.edges.nvml import NoNvml, Nvml
from yolowatch.errors import LaunchError
from yolowatch.model.actions import Launch, Remediation
from yolowatch.model.plan import Edits, Policy, Room, Start
from yolowatch.model.receipt import ResumePoint

LAST = "/runs/train/weights/last.pt"
RESUME = ResumePoint(Start.RESUME, "whole", LAST, 3, "ab")
AFRESH = ResumePoint(Start.AFRESH, "nothing was saved")


def launch(bench: Bench, request: Launch) -> tuple[tuple[str, ...], dict[str, str]]:
    """The command and the environment that the hands got."""
    assert isinstance(bench.hands, FakeHands)
    user = bench.user if request.attempt else None
    assert bench.launcher.launch(request, user) == process(70 + len(bench.hands.launches))
    command, environment, cwd = bench.hands.launches[-1]
    assert cwd == Path.cwd()
    return command, environment


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, "{stage}"), ("", "{stage}"), ("/mine:/too", "{stage}:/mine:/too")],
)
def test_the_users_own_attempt_is_their_command_with_the_hook_in_front(
    tmp_path: Path, given: str | None, expected: str
) -> None:
    own = {"PATH": "/bin", "SECRET": "s3cret", "LD_PRELOAD": "", "ÄÖ": "\udcff"}
    if given is not None:
        own["PYTHONPATH"] = given
    bench = Bench(tmp_path, environment=own)
    command, environment = launch(bench, Launch(0))
    assert command == COMMAND
    assert environment == own | {
        "PYTHONPATH": expected.format(stage=bench.hooking.stage),
        "YOLOWATCH_SOCKET": str(bench.hooking.socket),
        "YOLOWATCH_ATTEMPT": "0",
        "YOLOWATCH_EMERGENCY": "complete",
        "YOLOWATCH_RESCUE": "final",
    }


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(), "final"),
        (Policy(rescue=True), "1"),
        (Policy(levers=("batch",)), None),
        (Policy(mode="recommend"), None),
    ],
)
def test_what_may_be_rescued_in_the_process(
    tmp_path: Path, policy: Policy, expected: str | None
) -> None:
    bench = Bench(tmp_path, environment={"YOLOWATCH_RESCUE": "1"}, policy=policy)
    assert launch(bench, Launch(0))[1].get("YOLOWATCH_RESCUE") == expected


def test_the_supervisors_own_environment_stays_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONLY_HERE", "1")
    assert "ONLY_HERE" not in launch(Bench(tmp_path), Launch(0))[1]


def test_edits_of_an_outer_run_are_not_this_ones(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path, environment={"YOLOWATCH_EDITS": '{"batch": 1}', "YOLOWATCH_SOCKET": "x"}
    )
    _, environment = launch(bench, Launch(0))
    assert "YOLOWATCH_EDITS" not in environment
    assert environment["YOLOWATCH_SOCKET"] == str(bench.hooking.socket)


def test_a_later_attempt_gets_its_edits_and_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, environment={"PATH": "/bin", "MINE": "1"}, run_dir="/runs/train")
    _, environment = launch(bench, Launch(2, EDITS, RESUME))
    assert (environment["YOLOWATCH_ATTEMPT"], environment["MINE"]) == ("2", "1")
    assert json.loads(environment["YOLOWATCH_EDITS"]) == {
        "start": "resume",
        "checkpoint": LAST,
        "run_dir": "/runs/train",
        "batch": 8,
        "nbs": 64,
        "weight_decay": 0.0005,
        "validation_batch": None,
        "multi_scale": None,
        "amp": None,
        "checkpointing": None,
        "workers": None,
        "cache": None,
        "pin_memory": None,
        "freeze": None,
        "image_size": None,
        "pruning": None,
        "optimizer_bits": None,
        "one_gpu": False,
        "more_gpus": None,
        "finish_epoch": None,
        "losses": [],
        "loss_names": [],
        "rates": [],
        "effective_weight_decay": 0.0005,
        "iterations_batch": 64,
    }
    _, environment = launch(bench, Launch(3, Edits(batch=4), AFRESH))
    edits = json.loads(environment["YOLOWATCH_EDITS"])
    assert (edits["start"], edits["checkpoint"], edits["batch"]) == ("afresh", None, 4)
    assert (edits["nbs"], edits["weight_decay"]) == (None, None), "None is untouched"
    _, environment = launch(bench, Launch(0))
    assert "YOLOWATCH_EDITS" not in environment
    assert environment["PYTHONPATH"] == str(bench.hooking.stage), "in front once"


def test_pages_are_not_pinned_where_that_is_planned(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert "PIN_MEMORY" not in launch(bench, Launch(1, EDITS, RESUME))[1]
    edits = Edits(pin_memory=False)
    assert launch(bench, Launch(1, edits, RESUME))[1]["PIN_MEMORY"] == "false"


def test_the_iterations_that_choose_an_optimizer_are_counted_as_in_the_users_run(
    tmp_path: Path,
) -> None:
    for (batch, nbs), counted in {(16, 64): 64, (128, 64): 128, (None, None): None}.items():
        folder = tmp_path / str(batch)
        folder.mkdir()
        bench = Bench(folder, batch=batch, nbs=nbs)
        _, environment = launch(bench, Launch(1, EDITS, RESUME))
        assert json.loads(environment["YOLOWATCH_EDITS"])["iterations_batch"] == counted


def test_the_trainers_own_command_is_resumed_or_started_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, run_dir="/runs/train")
    command, _ = launch(bench, Launch(1, EDITS, RESUME))
    assert command == ("yolo", "detect", "train", f"model={LAST}", "resume=True", "batch=8")
    command, _ = launch(bench, Launch(1, EDITS, AFRESH))
    assert command[:3] == ("yolo", "detect", "train")
    assert {"data=d.yaml", "model=m.pt", "batch=8", "nbs=64"} <= set(command)
    assert "save_dir=/runs/train" in command
    assert "batch=16" not in command


@pytest.mark.parametrize("point", [RESUME, AFRESH])
@pytest.mark.parametrize(
    "user", [{"entry": "script"}, {"entry": None}, {"entry": "command", "trainer": "unheard of"}]
)
def test_a_users_program_is_started_as_it_was(
    tmp_path: Path, point: ResumePoint, user: dict[str, str | None]
) -> None:
    bench = Bench(tmp_path, command=("python", "my.py", "--batch", "16"), **user)
    command, environment = launch(bench, Launch(1, EDITS, point))
    assert command == ("python", "my.py", "--batch", "16")
    assert "YOLOWATCH_EDITS" in environment


def test_what_cannot_be_started_is_a_sentence(tmp_path: Path) -> None:
    bench = Bench(tmp_path, hands=FakeHands("The command yolo does not exist: check it."))
    with pytest.raises(LaunchError, match="does not exist"):
        bench.launcher.launch(Launch(0), None)


# ---------------------------------------------------------------- the wait for memory


def wait(folder: Path, nvml: FakeNvml | NoNvml, device: str | None = "cuda:0") -> tuple[str, float]:
    """What was waited for, and how many seconds."""
    clock = FakeClock()
    bench = Bench(folder, nvml=nvml, clock=clock, policy=Policy(memory_wait_seconds=30.0))
    began = clock.now
    detail, _found = bench.launcher.wait_for_memory(order(device))
    return detail, clock.now - began


def order(device: str | None = "cuda:0", room: Room | None = None) -> Remediation:
    found, user = replace(plan(), room=room), spec(device=device)
    return Remediation(
        "plan", found, user, 0, "/run", "/run/last.pt", True, (process(10), process(11))
    )


ROOM = Room(0, 100, 3600.0, "nobody went")


def looked(folder: Path, nvml: Nvml, room: Room = ROOM) -> tuple[str, bool, float]:
    """One look for room: what was found, whether it is enough, how many seconds it took."""
    bench = Bench(folder, nvml=nvml, clock=FakeClock(), policy=Policy(memory_wait_seconds=30.0))
    detail, found = bench.launcher.wait_for_memory(order(room=room))
    return detail, bool(found["ready"]), float(str(found["seconds"]))


def test_room_is_what_the_device_has_free_once_the_attempt_is_gone(tmp_path: Path) -> None:
    nvml = FakeNvml([{10, 99}, {99}], free=[200, 200, 200])
    detail, ready, seconds = looked(tmp_path, nvml)
    assert (detail, ready) == ("200 B of the device are free, and 100 B are needed", True)
    assert 0 < seconds < 1


BESIDE = replace(ROOM, beside=(1, 2))


@pytest.mark.parametrize(
    ("free", "users", "ready"),
    [
        ((200, 150, 200), (set(), set(), set()), True),
        ((200, 150, 200), ({99}, set(), set()), True),  # its own device may have a neighbour
        ((200, 150, 200), ({10}, set(), set()), False),  # who has not gone yet
        ((200, 150, 200), (set(), {99}, set()), False),  # somebody has come meanwhile
        ((200, 60, 200), (set(), set(), set()), False),
        ((200, None, 200), (set(), set(), set()), False),
        ((200, 150, 200), (set(), None, set()), False),
        ((200, 150), (set(), set()), False),  # one of them is gone
    ],
)
def test_devices_beside_must_be_idle_still(
    tmp_path: Path,
    free: tuple[int | None, ...],
    users: tuple[set[int] | None, ...],
    ready: bool,
) -> None:
    detail, found, seconds = looked(tmp_path, SeveralGpus(free, users), BESIDE)
    assert "of each device of 0, 1, 2 (and nobody on 1, 2) are free" in detail
    assert (found, seconds < 1) == (ready, ready)


def test_a_look_for_room_is_short_and_says_what_is_missing(tmp_path: Path) -> None:
    detail, ready, seconds = looked(tmp_path, FakeNvml([{99}], free=[60]))
    assert (detail, ready) == ("60 B of the device are free, and 100 B are needed", False)
    assert 5 <= seconds < 6


@pytest.mark.parametrize("nvml", [FakeNvml([{99}]), FakeNvml([None], free=[200]), NoNvml("none")])
def test_a_device_that_cannot_be_read_has_no_room(tmp_path: Path, nvml: FakeNvml | NoNvml) -> None:
    detail, ready, _ = looked(tmp_path, nvml)
    assert (detail, ready) == ("unknown of the device are free, and 100 B are needed", False)
    # Where the plan has made the run smaller, it is not given up for an unreadable driver.
    assert looked(tmp_path, nvml, replace(ROOM, proof=False))[1]


def test_it_waits_until_no_process_of_the_attempt_is_on_the_device(tmp_path: Path) -> None:
    nvml = FakeNvml([{10, 11, 99}, {11, 99}, None, {99}])
    detail, seconds = wait(tmp_path, nvml)
    assert detail == "the device's memory is back"
    assert nvml.asked == 4, "an unreadable device is not a free one"
    assert 0 < seconds < 1


@pytest.mark.parametrize("reading", [{10}, None])
def test_the_wait_is_bounded(tmp_path: Path, reading: set[int] | None) -> None:
    detail, seconds = wait(tmp_path, FakeNvml([reading]))
    assert "was not seen to be back in time" in detail
    assert 30 <= seconds < 31


@pytest.mark.parametrize("device", ["cpu", None])
def test_a_cpu_has_nothing_to_wait_for(tmp_path: Path, device: str | None) -> None:
    nvml = FakeNvml([{10}])
    assert "nothing to wait for" in wait(tmp_path, nvml, device)[0]
    assert nvml.asked == 0


def test_without_a_driver_the_end_of_the_processes_is_enough(tmp_path: Path) -> None:
    detail, seconds = wait(tmp_path, NoNvml("no driver"))
    assert detail == "not waited, the processes are gone: no driver"
    assert seconds == 0
