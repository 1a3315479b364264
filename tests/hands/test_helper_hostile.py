"""A core in an attacker's hands, who speaks the helper's protocol perfectly, gains nothing."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.daemon.parts import plan, spec
from tests.hands.helping import CORE, POLICY, Core, Helper, Training, helper, training
from tests.hands.strangers import ROOT, UID, end, home, settle, stranger
from yolowatch.edges.capture import capture
from yolowatch.edges.proc import is_alive, process_key
from yolowatch.hands.helper import protocol, translating
from yolowatch.hands.helper.bounds import Refused
from yolowatch.model.actions import Remediation, RunStep
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Edits
from yolowatch.trainers.families import FAMILIES

OTHER = 45678
needs_root = pytest.mark.skipif(not ROOT, reason="needs root to be a helper, and two users more")


@pytest.fixture(scope="module")
def running() -> Iterator[Helper]:
    with helper() as found:
        yield found


@pytest.fixture
def core(running: Helper) -> Iterator[Core]:
    with running.connect() as connection:
        yield Core(connection)


@pytest.fixture
def mine() -> Iterator[Training]:
    """The run that the core is to look after."""
    with home() as place, training(place) as found:
        yield found


@pytest.fixture
def theirs() -> Iterator[Training]:
    """Another user's run, open to everybody: only the helper's bounds protect it."""
    with home(OTHER, OTHER) as place, training(place, OTHER, OTHER) as found:
        for path in (place, *place.rglob("*")):
            path.chmod(0o777)
        yield found


def state_of(run: Training) -> dict[str, tuple[bytes, int]]:
    """Every file of a run, to the byte and its owner."""
    return {
        str(path): (path.read_bytes() if path.is_file() else b"", path.lstat().st_uid)
        for path in sorted(run.place.rglob("*"))
        if path.name != "libtorch_cpu.so"
    }


# ---------------------------------------------------------------- who may ask, and whom it may be


@needs_root
def test_only_the_cores_user_is_heard(running: Helper) -> None:
    with pytest.raises(PermissionError):
        running.connect(UID)
    with running.connect(0) as connection:  # root passes the file's mode, not the kernel's word
        assert connection.recv(1) == b""


@needs_root
def test_a_process_of_root_is_not_captured(core: Core) -> None:
    with home(0, 0) as place, training(place, 0, 0) as run:
        answer = core.capture("r1", run.key)
        assert "root or the system's" in answer["refused"]
        assert "never captured" in core.ask("step", "r1", **run.request("vault"))["refused"]


@needs_root
@pytest.mark.parametrize(("uid", "words"), [(77, "the system's"), (CORE, "the service's own")])
def test_nor_one_of_the_system_or_of_the_core_itself(core: Core, uid: int, words: str) -> None:
    with home(uid, uid) as place, training(place, uid, uid) as run:
        assert words in core.capture("r1", run.key)["refused"]


@needs_root
def test_what_holds_no_torch_is_never_started_again(core: Core) -> None:
    with home() as place, stranger(("sleep", "600"), place) as other:
        settle(lambda: Path(f"/proc/{other.key.pid}/environ").read_bytes() != b"")
        assert "holds no torch" in core.capture("r1", other.key)["refused"]


@needs_root
def test_a_reused_pid_is_another_process(core: Core, mine: Training) -> None:
    for key in (
        replace(mine.key, start_ticks=mine.key.start_ticks + 1),
        replace(mine.key, boot_id="0" * 36),
    ):
        assert "has ended" in core.capture("r1", key)["refused"]
    core.capture("r1", mine.key)
    stale = replace(mine.key, start_ticks=1)
    answer = core.ask("signal", "r1", process=vars(stale), number=9)
    assert answer["result"] == {"sent": False}
    assert is_alive(mine.key)
    core.ask("forget", "r1")


# ---------------------------------------------------------------- no path, no argv, no code


HOSTILE: list[dict[str, Any]] = [
    {"argv": ["/bin/sh"]},
    {"command": "sh"},
    {"environment": {"LD_PRELOAD": "/tmp/x.so"}},
    {"PYTHONPATH": "/tmp"},
    {"step": "exec"},
    {"step": "wait"},
    {"step": ["relaunch"]},
    {"attempt": "1; sh"},
    {"attempt": -1},
    {"attempt": True},
    {"attempt": 1.0},
    {"attempt": 1 << 60},
    {"edits": {"batch": "8"}},
    {"edits": {"batch": 0}},
    {"edits": {"batch": 8, "LD_PRELOAD": "x"}},
    {"edits": {"weight_decay": math.nan}},
    {"edits": {"weight_decay": math.inf}},
    {"edits": {"amp": "bf16 model=/etc/passwd"}},
    {"edits": {"amp": ["bf16"]}},
    {"edits": {"cache": "/etc/shadow"}},
    {"edits": {"optimizer_bits": 16}},
    {"edits": {"more_gpus": "0,1"}},
    {"edits": {"more_gpus": [0, "1; sh"]}},
    {"edits": {"more_gpus": [0, -1]}},
    {"edits": {"more_gpus": [0] * 100}},
    {"edits": [["batch", 8]]},
    {"user": {"trainer": "sh"}},
    {"user": {"trainer": "ultralytics", "run_dir": "/etc"}},
    {"user": {"trainer": "ultralytics", "entry": "-c"}},
    {"run_dir": "relative/run"},
    {"run_dir": "/tmp/../etc"},
    {"run_dir": "/tmp/./x"},
    {"run_dir": "/tmp/.."},
    {"run_dir": "/"},
    {"run_dir": "/tmp//x"},
    {"run_dir": "/tmp/x\n"},
    {"run_dir": "/tmp/x\0"},
    {"run_dir": "/tmp/" + "x" * 2000},
    {"run_dir": None},
    {"checkpoint": "../../etc/passwd"},
    {"checkpoint": "/etc/passwd"},
    {"checkpoint": "weights/epoch3.pt"},
    {"plan": "../../args"},
    {"plan": "p/1"},
    {"copies": ["../../../etc/passwd"]},
    {"copies": ["000001-attempt0-epoch1-0123456789abcdef.pt/../../x"]},
    {"adopted": 1},
    {"processes": [{"pid": 1}]},
    {"processes": [{"boot_id": "0" * 36, "pid": 0, "start_ticks": 0}]},
    {"processes": [{"boot_id": "../" * 12, "pid": 2, "start_ticks": 0}]},
    {"policy": {**POLICY, "exec": "sh"}},
    {"policy": {**POLICY, "emergency": "sh"}},
    {"policy": {**POLICY, "kill_grace_seconds": -1}},
    {"policy": {}},
    {"resume": {"start": "resume", "checkpoint": "/etc/passwd"}},
    {"resume": {"start": "resume", "sha256": "../../x"}},
    {"resume": {"start": "exec"}},
    {"resume": {"start": "resume", "emergency": {"epoch": 1, "complete": True, "x": 1}}},
    {
        "resume": {
            "start": "resume",
            "emergency": {"epoch": 1, "complete": True, "loss_names": ["a\n,b"]},
        }
    },
]


@needs_root
@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: str(change)[:50])
def test_what_no_table_has_is_refused_before_anything_is_done(
    running: Helper, change: dict[str, Any]
) -> None:
    key = ProcessKey("0" * 36, os.getpid(), 1)
    with running.connect() as connection:
        answer = Core(connection).ask("step", "r1", **{**plain_step("/tmp/run", key), **change})
        assert "refused" in answer
        assert "never captured" not in answer["refused"], "it was refused for what it says"


def plain_step(run_dir: str, key: ProcessKey) -> dict[str, Any]:
    return {
        "plan": "p1",
        "step": "relaunch",
        "attempt": 1,
        "failed_attempt": 0,
        "edits": {"batch": 8},
        "user": {"trainer": "ultralytics", "entry": "script"},
        "run_dir": run_dir,
        "checkpoint": "weights/last.pt",
        "saved": True,
        "processes": [vars(key)],
        "copies": [],
        "adopted": True,
        "policy": POLICY,
        "resume": {"start": "resume"},
    }


def test_the_devices_of_a_plan_arrive_as_they_were() -> None:
    edits = Edits(batch=8, nbs=64, more_gpus=(0, 2))
    run_dir, key = "/runs/a", ProcessKey("0" * 36, 5, 1)
    order = Remediation(
        "p1",
        replace(plan(), edits=edits),
        spec(run_dir=run_dir),
        0,
        run_dir,
        f"{run_dir}/weights/last.pt",
        True,
        (key,),
    )
    told = {**translating.step_to_json(RunStep(order, "relaunch", None)), "policy": POLICY}
    found = protocol.decode(protocol.encode(protocol.Request(1, "step", "r1", told)))
    assert translating.step(found.fields).remediation.plan.edits == edits


def test_the_tables_are_those_of_the_model() -> None:
    assert set(protocol.EDITS.optional) == {each.name for each in fields(Edits)}
    trainer = protocol.USER.fields["trainer"]
    assert trainer.words == tuple(each.NAME for each in FAMILIES)  # type: ignore[attr-defined]
    protocol.decode(
        json.dumps(
            {
                "version": 1,
                "id": 1,
                "verb": "step",
                "run": "r1",
                "fields": plain_step("/a/b", ProcessKey("0" * 36, 5, 1)),
            }
        ).encode()
    )


# ---------------------------------------------------------------- other directories


@needs_root
def test_the_run_directory_is_one_that_this_training_wrote(
    core: Core, mine: Training, theirs: Training
) -> None:
    private = mine.place / "private"
    private.mkdir()
    (private / "args.yaml").write_text("batch: 1\n")
    os.utime(private / "args.yaml", (0, 0))
    link = mine.place / "link"
    link.symlink_to(theirs.folder.path)
    plain = mine.place / "plain"
    plain.mkdir()
    for path in (private, link, plain):
        os.chown(path, UID, UID, follow_symlinks=False)
    before = state_of(theirs)
    core.capture("r1", mine.key)
    for path, words in (
        (theirs.folder.path, "does not belong"),
        (link, "does not belong"),
        (plain, "holds nothing that this training wrote"),
        (Path("/etc"), "does not belong"),
        (Path("/nowhere"), "No such file"),
    ):
        for verb, request in (
            ("step", mine.request("rewrite", run_dir=str(path))),
            ("vault", vaulting(str(path))),
            ("restore", {"run_dir": str(path), "policy": POLICY, "files": []}),
        ):
            assert words in core.ask(verb, "r1", **request)["refused"], path
    assert "detail" in core.ask("step", "r1", **mine.request("vault"))["result"]
    answer = core.ask("step", "r1", **mine.request("rewrite", run_dir=str(private)))
    assert "another directory" in answer["refused"]
    assert state_of(theirs) == before
    core.ask("forget", "r1")


def vaulting(run_dir: str) -> dict[str, Any]:
    return {
        "run_dir": run_dir,
        "checkpoint": "weights/last.pt",
        "attempt": 0,
        "epoch": 3,
        "policy": POLICY,
    }


@needs_root
@pytest.mark.parametrize(
    ("name", "step"),
    [("args.yaml", "rewrite"), ("results.csv", "rewrite"), ("weights/last.pt", "vault"),
     ("weights", "vault"), (".yolowatch", "rewrite")],
)  # fmt: skip
def test_links_out_of_the_run_directory_are_followed_by_nobody(
    core: Core, mine: Training, theirs: Training, name: str, step: str
) -> None:
    (theirs.folder.path / ".yolowatch").mkdir(exist_ok=True)
    (theirs.folder.path / ".yolowatch").chmod(0o777)
    core.capture("r1", mine.key)
    before = state_of(theirs)
    ours = mine.folder.path / name
    if ours.exists():
        ours.rename(mine.place / "aside")
    ours.symlink_to(theirs.folder.path / name)
    answer = core.ask("step", "r1", **mine.request(step))
    result = answer.get("result", {})
    if step == "rewrite":
        assert "refused" in answer or "failed" in result, answer
    elif "result" in result:
        # Theirs is not read: this run has nothing to resume from.
        assert result["result"]["resume"]["start"] == "afresh"
    core.ask("vault", "r1", **vaulting(str(mine.folder.path)))
    event = core.receive()["event"]
    if name.startswith("weights") or name == ".yolowatch":
        assert event["kind"] == "CheckpointRefused", event
    assert state_of(theirs) == before
    copies = [path for path in mine.place.rglob("*.pt") if ".yolowatch" in path.parts]
    assert len(copies) == (0 if event["kind"] == "CheckpointRefused" else 1)
    core.ask("forget", "r1")


@needs_root
def test_a_race_of_names_reaches_nothing_outside(
    core: Core, mine: Training, theirs: Training
) -> None:
    """The run directory and a file in it are exchanged for links, as fast as that goes.

    Twice they are left alone for as long as the requests take, however slow the machine is.
    """
    before = state_of(theirs)
    over, still, chance = threading.Event(), threading.Lock(), random.Random(7)
    aside, path = mine.place / "aside", mine.folder.path

    def exchange() -> None:
        while not over.is_set():
            with still:
                with contextlib.suppress(OSError):
                    path.rename(aside)
                    path.symlink_to(theirs.folder.path)
                with contextlib.suppress(OSError):
                    path.unlink()
                    aside.rename(path)
                with contextlib.suppress(OSError):
                    (path / "args.yaml").rename(path / "kept")
                    (path / "args.yaml").symlink_to(theirs.folder.args)
                    (path / "args.yaml").unlink()
                    (path / "kept").rename(path / "args.yaml")
            over.wait(chance.choice((0.0, 0.001, 0.2)))

    thread = threading.Thread(target=exchange)
    thread.start()
    done = 0
    try:
        for round_ in range(8):
            left_alone = still if round_ % 4 == 3 else contextlib.nullcontext()
            with left_alone:
                core.capture("r1", mine.key)
                for step in ("vault", "rewrite"):
                    answer = core.ask("step", "r1", **mine.request(step, processes=[]))
                    done += "detail" in answer.get("result", {})
                core.ask("forget", "r1")
    finally:
        over.set()
        thread.join()
    assert state_of(theirs) == before
    assert done > 0, "the names were right when they were left alone"


# ---------------------------------------------------------------- other processes


@needs_root
def test_signals_reach_the_runs_own_processes_only(
    core: Core, mine: Training, theirs: Training
) -> None:
    core.capture("r1", mine.key)
    core.capture("r2", theirs.key)
    with stranger(("sleep", "600"), mine.place) as other:
        for process in (theirs.key, other.key, process_key(1), process_key(os.getpid())):
            assert process is not None
            answer = core.ask("signal", "r1", process=vars(process), number=9)
            assert "none of this run's" in answer["refused"]
            request = mine.request("stop", processes=[vars(process)])
            assert "none of this run's" in core.ask("step", "r1", **request)["refused"]
            assert is_alive(process)
        for number in (0, 1, 19, 64, -9, "9"):
            answer = core.ask("signal", "r1", process=vars(mine.key), number=number)
            assert "refused" in answer
            assert is_alive(mine.key)
    assert "never captured" in core.ask("signal", "r9", process=vars(mine.key), number=9)["refused"]
    assert core.ask("signal", "r1", process=vars(mine.key), number=15)["result"] == {"sent": True}
    settle(lambda: is_alive(mine.key) is False)
    for run in ("r1", "r2"):
        core.ask("forget", run)


@needs_root
def test_a_mark_that_a_user_forged_gives_them_nobody_elses_process(
    core: Core, mine: Training, theirs: Training
) -> None:
    core.capture("r1", mine.key)
    core.ask("step", "r1", **mine.request("vault"))
    folder = mine.folder.path / ".yolowatch"
    folder.mkdir(exist_ok=True)
    os.chown(folder, UID, UID)
    victim = theirs.key
    mark = folder / "r1-attempt1.started"
    mark.write_text(f"{victim.boot_id} {victim.pid} {victim.start_ticks}\n")
    os.chown(mark, UID, UID)
    answer = core.ask("signal", "r1", process=vars(victim), number=9)
    assert "not permitted" in answer["refused"]
    assert is_alive(victim)
    core.ask("forget", "r1")


# ---------------------------------------------------------------- what is started


@needs_root
def test_what_is_started_is_what_was_captured_once(core: Core, mine: Training) -> None:
    core.capture("r1", mine.key)
    captured = capture(mine.key)
    assert "still alive" in core.ask("step", "r1", **mine.request("relaunch"))["refused"]
    core.ask("step", "r1", **mine.request("stop"))
    mine.process.popen.wait()
    names = ["weights", "batch", "nbs"]
    request = mine.request(
        "relaunch",
        resume={
            "start": "resume",
            "epoch": 3,
            "emergency": {"epoch": 3, "complete": True, "loss_names": names},
        },
    )
    first = core.ask("step", "r1", **request)["result"]
    process = ProcessKey(**first["result"]["process"])
    try:
        assert core.ask("step", "r1", **request)["result"] == first, "replayed: not started again"
        later = core.ask("step", "r1", **mine.request("relaunch", attempt=2))
        assert "still alive" in later["refused"]
        settle(lambda: mine.log.read_text().count("\n") == 2)
        again = capture(process)
        assert (again.argv, again.uid, again.executable) == (
            captured.argv,
            UID,
            captured.executable,
        )
        new = set(again.environment) - set(captured.environment)
        assert new == {
            "YOLOWATCH_ATTEMPT",
            "YOLOWATCH_EDITS",
            "YOLOWATCH_EMERGENCY",
            "YOLOWATCH_SOCKET",
        }
        changed = {
            n for n in captured.environment if again.environment[n] != captured.environment[n]
        }
        assert changed == {"PYTHONPATH"}
        assert json.loads(again.environment["YOLOWATCH_EDITS"])["loss_names"] == names
    finally:
        end(process)
        core.ask("forget", "r1")


# ---------------------------------------------------------------- bytes


@needs_root
def test_rubbish_costs_its_own_connection_only(running: Helper, mine: Training) -> None:
    with running.connect() as good:
        keeper = Core(good)
        keeper.capture("r1", mine.key)
        for rubbish in (b"x" * 70_000, b"\xff", b"[]", b"null", b"[" * 50_000, b"{}", b"1" * 9000):
            with running.connect() as connection:
                core = Core(connection)
                for _ in range(8):
                    with contextlib.suppress(OSError):
                        core.send(rubbish)
                with contextlib.suppress(OSError):
                    while connection.recv(1 << 16):
                        pass
        with running.connect() as empty, contextlib.suppress(OSError):
            empty.send(b"")
        result = keeper.ask("step", "r1", **mine.request("vault"))["result"]
        assert "detail" in result
        keeper.ask("forget", "r1")
    assert running.popen.poll() is None


@needs_root
def test_a_core_cannot_open_the_helper_shut(running: Helper) -> None:
    """Connections are few, and a closed one makes room."""
    held = []
    refused = 0
    for _ in range(12):
        connection = running.connect()
        connection.settimeout(0.5)
        try:
            refused += connection.recv(1) == b""
        except TimeoutError:
            held.append(connection)
    assert 1 <= len(held) <= 4
    assert refused >= 8
    for connection in held:
        connection.close()
    settle(lambda: "refused" in answer_of(running))


def answer_of(running: Helper) -> dict[str, Any]:
    with running.connect() as connection, contextlib.suppress(OSError, ValueError):
        return Core(connection).ask("vault", "none", **vaulting("/tmp/x"))
    return {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=10,
)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_hostile_bytes_are_refused_and_nothing_else(data: bytes) -> None:
    with pytest.raises(Refused):
        protocol.decode(data)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_one_wrong_value_anywhere_is_refused_or_within_its_bounds(data: st.DataObject) -> None:
    """Whatever passes can be said again, and says the same."""
    step = plain_step("/a/b", ProcessKey("0" * 36, 5, 1))
    place = data.draw(st.sampled_from(sorted(step)))
    value = data.draw(JSON)
    target: Any = step
    if type(step[place]) is dict and data.draw(st.booleans()):
        target, place = step[place], data.draw(st.sampled_from(sorted(step[place])))
    target[place] = value
    whole = {"version": 1, "id": 1, "verb": "step", "run": "r1", "fields": step}
    try:
        request = protocol.decode(json.dumps(whole).encode())
    except Refused:
        return
    assert protocol.decode(protocol.encode(request)) == request


@needs_root
def test_a_fuzzed_helper_stays_up_and_touches_nothing(
    running: Helper, mine: Training, theirs: Training
) -> None:
    before = state_of(mine), state_of(theirs)
    chance = random.Random(7)
    valid = json.dumps(
        {
            "version": 1,
            "id": 1,
            "verb": "step",
            "run": "r1",
            "fields": plain_step(str(theirs.folder.path), theirs.key),
        }
    ).encode()
    sent = 0
    while sent < 2000:
        with running.connect() as connection, contextlib.suppress(OSError):
            for _ in range(chance.randint(1, 12)):
                data = bytearray(valid)
                for _ in range(chance.randint(0, 6)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                connection.send(bytes(data[: chance.randint(1, len(data))]))
                sent += 1
    assert running.popen.poll() is None
    settle(lambda: "refused" in answer_of(running))
    assert (state_of(mine), state_of(theirs)) == before
    status = Path(f"/proc/{running.popen.pid}/status").read_text()
    resident = int(status.split("VmRSS:")[1].split()[0])
    assert resident < 80_000, "kilobytes"


def test_the_program_loads_no_parser_of_users_files() -> None:
    program = "import sys, yolowatch.hands.helper.program; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    forbidden = {
        "http.server", "yaml", "prometheus_client", "sqlite3", "yolowatch.edges.listener",
        "yolowatch.edges.http", "yolowatch.hands.executor", "yolowatch.edges.checkpoints",
        "yolowatch.hands.helper.worker", "pickle",
    }  # fmt: skip
    assert loaded & forbidden == set()
