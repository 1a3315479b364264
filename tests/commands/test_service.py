"""The daemon as people command it: a real process and sockets, trainings that speak as hooks do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands.door import PUPPET, until
from yolowatch.edges.control_client import ask
from yolowatch.edges.files import sha256
from yolowatch.errors import RefusedError, ServiceError

HOOK = Path(__file__).resolve().parents[2] / "yolowatch" / "hook"
DAEMON = Path(__file__).with_name("programs") / "daemon_in.py"
ROOT = os.geteuid() == 0
SYSTEM_PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin")
ALICE, BOB = 41001, 41002
PATIENCE = 60.0

# A hook that says what it trains and stays: as hostile as a user can make it.
SPEAKER = """
import json, os, socket, sys
from yolowatch_hook import wire
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
def tell(kind, **fields):
    s.send(wire.encode(kind, fields))
def raw(kind, **fields):  # unclipped: what `encode` would make plain
    body = json.dumps(fields).encode()
    s.send(wire.MAGIC + bytes((wire.VERSION, wire.KINDS.index(kind))) + body)
tell("hello", pid=os.getpid(), attempt=0, python="3", torch="2")
fields = json.loads(sys.argv[2])
raw("run", trainer="ultralytics", train_calls=1, batch=16, accumulate=4, nbs=64, epochs=9, **fields)
tell("sample", seconds=1.0, steps=1, phase="forward", epoch=0, step=5, batch=16)
sys.stdin.read()
"""


def until_soon(happened: Callable[[], object]) -> None:
    until(happened, PATIENCE)


class Service:
    """A daemon in directories of its own, which every user may enter."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.sockets, self.state = place / "yolowatch", place / "state"
        self.config = place / "etc" / "yolowatch.yaml"
        self.config.parent.mkdir()
        shutil.copytree(HOOK, place / "site" / "yolowatch_hook")
        self.said: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self.trainings: list[subprocess.Popen[Any]] = []
        self.configure("")

    def configure(self, text: str) -> None:
        new = self.config.with_suffix(".new")
        new.write_text(f"metrics: none\nothers_grace_seconds: 0\n{text}\n")
        new.rename(self.config)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, str(DAEMON), str(self.sockets)),
                *("--config", str(self.config), "--state-dir", str(self.state)),
            ],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_RUNTIME_DIR": str(self.place), "PYTHONPATH": os.getcwd()},
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        until_soon(self._answers)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.said
        try:
            self.status()
        except ServiceError:
            return False
        return True

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self.said += [""]
        for line in process.stderr:
            self.said.append(line)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def ask(self, verb: str, run: str | None = None, **arguments: Any) -> Any:
        return ask(verb, {"run": run, **arguments}, self.sockets / "control.sock")

    def status(self) -> Any:
        return self.ask("status")

    def run(self) -> Any:
        """The one run there is."""
        (run,) = self.status()["runs"]
        return self.ask("status", run["run"])["run"]

    def until(self, happened: Callable[[Any], object]) -> Any:
        """The one run once this holds of it."""
        until_soon(lambda: len(self.status()["runs"]) == 1 and happened(self.run()))
        return self.run()

    def train(self, *words: str) -> Path:
        """Start the puppet as an orphan, as a user's shell leaves it; its run directory.

        It fails once it is adopted: how a process was started cannot be read when it has ended.
        """
        run_dir, hold = self.place / "run", self.place / "hold"
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.place / "site"),
            "YOLOWATCH_SOCKET": str(self.sockets / "hook.sock"),
            "YOLOWATCH_ATTEMPT": "0",
        }
        subprocess.run(
            ["setsid", "--fork", *PUPPET, str(run_dir), "--hold", str(hold), *words],
            check=True,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until_soon(lambda: self.status()["runs"])
        hold.touch()
        return run_dir

    def speak(self, uid: int, **fields: Any) -> subprocess.Popen[bytes]:
        """A training of another user's that says this of itself."""
        assert SYSTEM_PYTHON is not None
        as_user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        speaker = subprocess.Popen(
            [
                *(as_user if ROOT else []),
                *(SYSTEM_PYTHON, "-c", SPEAKER, str(self.sockets / "hook.sock")),
                json.dumps(fields),
            ],
            stdin=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(self.place / "site")},
        )
        self.trainings.append(speaker)
        return speaker

    def ask_as(self, uid: int, *words: str) -> tuple[int, str]:
        """The status and the whole output of a command, asked by another user."""
        program = "import json, socket, sys; s = socket.socket(socket.AF_UNIX); "
        program += "s.connect(sys.argv[1]); s.sendall(sys.argv[2].encode() + b'\\n'); "
        program += "sys.stdout.write(s.makefile().readline())"
        arguments = {} if len(words) == 1 else {"run": words[1]}
        line = json.dumps({"verb": words[0], "arguments": arguments})
        assert SYSTEM_PYTHON is not None
        done = subprocess.run(
            [
                *("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"),
                *(SYSTEM_PYTHON, "-c", program, str(self.sockets / "control.sock"), line),
            ],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return done.returncode, done.stdout

    def close(self) -> None:
        for training in self.trainings:
            training.kill()
            training.wait()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)


@pytest.fixture
def service() -> Iterator[Service]:
    place = Path(tempfile.mkdtemp(prefix="service-"))
    place.chmod(0o755)
    found = Service(place)
    yield found
    found.close()
    shutil.rmtree(place, ignore_errors=True)


MINE = f"minimum_uid: 0\nusers: [{{uid: {os.geteuid()}, mode: MODE}}]"


def mine(mode: str) -> str:
    return MINE.replace("MODE", mode)


def test_approve_carries_a_recommended_plan_out_and_rollback_undoes_it(service: Service) -> None:
    service.configure(mine("recommend"))
    service.start()
    end = service.place / "end"
    run_dir = service.train("--wait", str(end))
    waiting = service.until(lambda run: run["state"] == "waiting for approval")
    original = (run_dir / "args.yaml").read_bytes()
    assert not (run_dir / "attempt-1.json").exists()
    assert "becomes" in waiting["plan"]["changes"][0]
    assert waiting["incidents"][0]["kind"] == "cpu-oom"
    with pytest.raises(RefusedError, match="waits no more"):
        service.ask("approve", waiting["run"], plan="ffff")
    said = service.ask("approve", waiting["run"], plan=waiting["plan"]["id"])["said"]
    assert "is approved" in said
    again = service.until(lambda run: run["attempt"] == 1 and run["hook"])
    assert (run_dir / "args.yaml").read_bytes() != original
    assert again["receipts"]
    assert again["replaced_files"] == 1
    assert again["batch"] * again["accumulate"] == again["effective_batch"] == 64
    assert "as they were" in service.ask("rollback", again["run"])["said"]
    assert sha256((run_dir / "args.yaml").read_bytes()) == sha256(original)
    end.touch()
    service.until(lambda run: run["state"] == "finished")
    with pytest.raises(RefusedError, match="No plan of run"):
        service.ask("approve", waiting["run"])


def test_pause_stops_all_acting_also_in_the_next_daemon(service: Service) -> None:
    service.configure(mine("auto"))
    service.start()
    service.ask("pause")
    run_dir = service.train()
    held = service.until(lambda run: run["plan"] is not None)
    assert held["paused"] is True
    assert held["plan"]["reason"].startswith("paused")
    with pytest.raises(RefusedError, match="is paused"):
        service.ask("approve", held["run"])
    service.kill()
    service.start()
    assert service.status()["paused"] is True
    held = service.until(lambda run: run["plan"] is not None)
    assert held["plan"]["reason"].startswith("paused")
    assert not (run_dir / "attempt-1.json").exists()
    service.ask("resume")
    service.until(lambda run: run["state"] == "finished")
    assert (run_dir / "attempt-1.json").exists()


def test_one_run_is_paused_by_itself(service: Service) -> None:
    service.configure(mine("auto"))
    service.start()
    speaker = service.speak(os.geteuid(), run_dir=str(service.place / "other"))
    other = service.until(lambda run: run["hook"])
    service.ask("pause", other["run"])
    service.ask("resume")  # all, but for what is paused by itself
    assert service.run()["paused"] is True
    assert service.status()["paused"] is False
    service.ask("resume", other["run"])
    assert service.run()["paused"] is False
    speaker.kill()


def test_a_bad_configuration_changes_nothing_and_is_said(service: Service) -> None:
    service.configure(mine("recommend"))
    service.start()
    service.speak(os.geteuid(), run_dir=str(service.place / "run"))
    assert service.until(lambda run: run["hook"])["mode"] == "recommend"
    service.configure("mode: automatic")
    until_soon(lambda: service.status()["config_trouble"])
    trouble = service.status()["config_trouble"]
    assert "mode must be one of: observe, recommend, auto, not 'automatic'" in trouble
    assert service.run()["mode"] == "recommend"
    service.configure(mine("observe"))
    run = service.until(lambda run: run["mode"] == "observe")
    assert run["mode_reason"] == f"the rule of uid {os.geteuid()}"
    assert service.status()["config_trouble"] is None
    assert any("the configuration stays as it was" in line for line in service.said)
    assert any("mode observe from now on" in line for line in service.said)


def test_a_run_that_is_opted_out_is_left_alone(service: Service) -> None:
    service.configure(mine("auto"))
    service.start()
    (service.place / ".yolowatch-ignore").touch()
    run_dir = service.train()
    run = service.until(lambda run: run["state"] == "failed")
    assert (run["mode"], run["plan"]) == ("observe", None)
    assert "opted out: .yolowatch-ignore" in run["mode_reason"]
    assert not (run_dir / "attempt-1.json").exists()
    assert not (run_dir / ".yolowatch").exists()  # not even a copy of a checkpoint


def test_who_opts_out_after_the_failure_has_the_last_word(service: Service) -> None:
    service.configure(mine("recommend"))
    service.start()
    run_dir = service.train()
    waiting = service.until(lambda run: run["state"] == "waiting for approval")
    (run_dir / ".yolowatch-ignore").touch()
    service.ask("approve", waiting["run"])
    given_up = service.until(lambda run: run["state"] == "failed")
    assert "opted out" in given_up["incidents"][-1]["outcome"]
    assert not (run_dir / "attempt-1.json").exists()


def test_what_a_hook_says_is_hostile(service: Service) -> None:
    service.start()
    # What the wire format refuses never comes so far; what it lets pass is escaped.
    fields = {"run_dir": "/tmp/[red]x\nrun[/red]\u202e\u2066", "model": "\u200fm\u2029"}
    service.speak(os.geteuid(), **fields)
    service.until(lambda run: run["hook"])
    shown = subprocess.run(
        [
            *(sys.executable, "-m", "yolowatch", "status"),
            *("--socket", str(service.sockets / "control.sock")),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "/tmp/[red]x run[/red]\\u202e\\u2066" in shown
    assert len([line for line in shown.splitlines() if line.startswith("run")]) == 1
    assert not {"\u202e", "\u2066", "\u200f", "\u2029", "\x1b"} & set(shown)


def test_the_daemon_attaches_and_detaches_where_it_is_asked_to(service: Service) -> None:
    service.start()
    program = "print(flush=True)\nwhile True: sum(range(1000))"
    command = [sys.executable, "-c", program]
    busy = subprocess.Popen(command, cwd=service.place, stdout=subprocess.PIPE)
    service.trainings.append(busy)  # ended in the end
    assert busy.stdout is not None
    busy.stdout.readline()
    assert "the hook is in process" in service.ask("attach", pid=busy.pid)["said"]
    assert "the hook is out of process" in service.ask("detach", pid=busy.pid)["said"]
    (service.place / ".yolowatch-ignore").touch()
    with pytest.raises(RefusedError, match=r"is opted out: \.yolowatch-ignore"):
        service.ask("attach", pid=busy.pid)
    (service.place / ".yolowatch-ignore").unlink()
    service.configure("attach: preloaded")
    until_soon(lambda: any("read again and is in force" in line for line in service.said))
    with pytest.raises(RefusedError, match="attach: preloaded"):
        service.ask("attach", pid=busy.pid)
    with pytest.raises(RefusedError, match="no process"):
        service.ask("attach", pid=2**22 - 1)
    assert busy.poll() is None


@pytest.mark.skipif(not ROOT or SYSTEM_PYTHON is None, reason="only root can be two users")
def test_a_user_neither_sees_nor_commands_anothers_run(service: Service) -> None:
    service.start()
    service.speak(ALICE, run_dir="/nowhere/alice", model="model-of-alice")
    service.speak(BOB, run_dir="/nowhere/bob", model="model-of-bob")
    until_soon(lambda: len(service.status()["runs"]) == 2)
    runs = {run["uid"]: run["run"] for run in service.status()["runs"]}
    assert set(runs) == {ALICE, BOB}
    for mine, theirs, name in ((ALICE, BOB, "bob"), (BOB, ALICE, "alice")):
        _, text = service.ask_as(mine, "status")
        assert [run["run"] for run in json.loads(text)["runs"]] == [runs[mine]]
        assert name not in text
        for verb in ("status", "approve", "pause", "resume", "rollback"):
            _, text = service.ask_as(mine, verb, runs[theirs])
            assert json.loads(text)["ok"] is False
            assert "No run of yours" in text
            assert name not in text
        for verb in ("pause", "resume"):
            _, text = service.ask_as(mine, verb)
            assert "not allowed here" in text
        _, text = service.ask_as(mine, "pause", runs[mine])
        assert json.loads(text)["ok"] is True
    paused = {run["uid"]: run["paused"] for run in service.status()["runs"]}
    assert paused == {ALICE: True, BOB: True}
