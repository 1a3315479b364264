"""A real helper as root, a core of another user, and trainings of a third."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.daemon.parts import RunDir, plan, spec
from tests.hands.strangers import GID, GROUPS, UID, Stranger, settle, stranger
from yolowatch.edges.nvml import NoNvml
from yolowatch.hands.helper.client import HelperHands
from yolowatch.model.actions import Remediation
from yolowatch.model.events import Event
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Policy

CORE = 34567
PYTHON = "/usr/bin/python3"  # one that every user can run
TRAINER = Path(__file__).parent / "programs" / "fake_trainer.py"
ENVIRONMENT = {"PATH": os.defpath, "SECRET": "s3cret", "HOME": "/", "PYTHONPATH": "/mine"}
POLICY = {
    "mode": "auto",
    "emergency": "complete",
    "kill_grace_seconds": 5.0,
    "keep_checkpoints": 2,
    "rescue": False,
    "vault_gib": 1.0,
    "grace_seconds": 0.0,
}


@contextlib.contextmanager
def rights_of(uid: int) -> Iterator[None]:
    """Only the effective user of this process, which is what a socket tells its peer."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


class Helper:
    """The program, started as a service manager would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "helper.sock"
        self.journal = folder / "journal"
        self.start()

    def start(self) -> None:
        with self.journal.open("ab") as journal:
            self.popen = subprocess.Popen(
                [
                    *(sys.executable, "-m", "yolowatch.hands.helper"),
                    *("--socket", str(self.socket), "--core-user", str(CORE)),
                    *("--state-dir", str(self.folder / "private")),
                    *("--stage-dir", str(self.folder / "shared")),
                    *("--hook-socket", str(self.folder / "hook.sock")),
                ],
                stderr=journal,
                env={},
            )
        settle(self.answers)

    def answers(self) -> bool:
        assert self.popen.poll() is None, self.journal.read_text()
        with contextlib.suppress(OSError):
            self.connect().close()
            return True
        return False

    def connect(self, uid: int = CORE) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with rights_of(uid):
            connection.connect(str(self.socket))
        connection.settimeout(20)
        return connection

    def end(self, number: int = signal.SIGTERM) -> None:
        self.popen.send_signal(number)
        self.popen.wait(20)


@contextlib.contextmanager
def helper() -> Iterator[Helper]:
    folder = Path(tempfile.mkdtemp(prefix="yolowatch-helper-", dir="/tmp"))
    folder.chmod(0o711)
    running = Helper(folder)
    try:
        yield running
    finally:
        running.end()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Core:
    """A core that speaks the protocol without the client: it may say anything."""

    connection: socket.socket
    last: int = 0

    def send(self, data: bytes) -> None:
        self.connection.send(data)

    def receive(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.connection.recv(1 << 17))
        return found

    def ask(self, verb: str, run: str, **fields: Any) -> dict[str, Any]:
        self.last += 1
        request = {"version": 1, "id": self.last, "verb": verb, "run": run, "fields": fields}
        self.send(json.dumps(request).encode())
        while (answer := self.receive()).get("id") != self.last:
            if "id" not in answer and "refused" in answer:
                return answer
        return answer

    def capture(self, run: str, process: ProcessKey) -> dict[str, Any]:
        return self.ask("capture", run, process=vars(process))


class Hands:
    """The client, connected as the core's user, and what it posts."""

    def __init__(self, running: Helper) -> None:
        self.posted: queue.Queue[tuple[str | None, Event]] = queue.Queue()
        self.hands = HelperHands(
            running.socket,
            lambda _run: Policy(kill_grace_seconds=5.0),
            NoNvml("no driver"),
            self.post,
            grace_seconds=lambda: 0.0,
            patience_seconds=0.0,
        )
        self.connect()

    def connect(self) -> None:
        """Connect now, with the core's rights: the product's core has no others."""
        with rights_of(CORE):
            self.hands.forget("nothing")

    def post(self, run: str | None, event: Event) -> bool:
        self.posted.put((run, event))
        return True

    def next(self) -> tuple[str | None, Event]:
        return self.posted.get(timeout=20)


@dataclass
class Training:
    """A fake training of a user in `place`, with its run directory and log."""

    place: Path
    folder: RunDir
    log: Path
    process: Stranger
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> ProcessKey:
        return self.process.key

    def order(self, *processes: ProcessKey) -> Remediation:
        path = str(self.folder.path)
        user = spec(run_dir=path, entry="script")
        return Remediation(
            "plan", plan(), user, 0, path, str(self.folder.last), True, processes or (self.key,)
        )

    def request(self, step: str, **changes: Any) -> dict[str, Any]:
        """The fields of a step, as a well-behaved core would have them."""
        fields = {
            "plan": "p1",
            "step": step,
            "attempt": 1,
            "failed_attempt": 0,
            "edits": {"batch": 8, "nbs": 64, "weight_decay": 0.0005},
            "user": {"trainer": "ultralytics", "entry": "script", "batch": 16, "nbs": 64},
            "run_dir": str(self.folder.path),
            "checkpoint": "weights/last.pt",
            "saved": True,
            "processes": [vars(self.key)],
            "copies": [],
            "adopted": True,
            "policy": POLICY,
            "resume": {"start": "resume", "epoch": 3, "sha256": "0" * 64},
        }
        return {**fields, **changes}


@contextlib.contextmanager
def training(place: Path, uid: int = UID, gid: int = GID) -> Iterator[Training]:
    """Somebody's training, begun by hand."""
    folder = RunDir(place / "run")
    program = place / "train.py"
    shutil.copy(TRAINER, program)
    for path in (place, *place.rglob("*")):
        os.chown(path, uid, gid)
    log = place / "train.log"
    command = (PYTHON, str(program), "run")
    groups = GROUPS if uid == UID else ()
    with stranger(
        command, place, log=log, environment=ENVIRONMENT, uid=uid, gid=gid, groups=groups
    ) as process:
        settle(lambda: log.read_text() != "")
        yield Training(place, folder, log, process)
