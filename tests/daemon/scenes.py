"""A run as the core sees it: events in, actions out, a real journal, and no thread."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from tests.decide import build
from yolowatch.daemon.core import Core
from yolowatch.daemon.records import Records
from yolowatch.edges import proc
from yolowatch.edges.devices import DeviceWatch
from yolowatch.edges.journal import Journal
from yolowatch.edges.nvml import Nvml
from yolowatch.edges.records import IncidentRecord, PlanRecord
from yolowatch.hook import wire
from yolowatch.model import events
from yolowatch.model.actions import Action, Finish, RestoreFiles, RunStep, Say, Signal
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Policy, Start
from yolowatch.model.receipt import FileChange, ResumePoint
from yolowatch.model.run import LastWords

A = TypeVar("A", bound=Action)

RUN_DIR = "/runs/train"
LAST = f"{RUN_DIR}/weights/last.pt"
RESUME = ResumePoint(Start.RESUME, "the checkpoint is whole", LAST, 11, "ab" * 32)
CHANGE = FileChange(f"{RUN_DIR}/args.yaml", "old", "new", f"{RUN_DIR}/.yolowatch/originals/old")
RESULTS: dict[str, Mapping[str, Any]] = {
    "stop": {},
    "vault": {"resume": RESUME},
    "rewrite": {"files": (CHANGE,)},
    "wait": {"seconds": 1.5},
}


def process(pid: int) -> ProcessKey:
    return ProcessKey("boot", pid, 1000 + pid)


def words_fields(words: LastWords | None = None) -> dict[str, Any]:
    """Last words as the fields of the hook's message; a real CUDA failure unless others are
    given.
    """
    told = asdict(words or build.failed())
    return {**told.pop("place"), **told.pop("memory"), **told} | {"at": None}


def received(kind: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields as they come out of the wire."""
    known = {name: value for name, value in fields.items() if name in wire.FIELDS[kind]}
    return wire.decode(wire.encode(kind, known))[1]


class Scene:
    """One supervision; time stands still until `wait`, and `said` is what a person reads."""

    def __init__(self, folder: Path, policy: Policy | None = None, **spec: Any) -> None:
        self.journal = Journal(folder / "journal.sqlite")
        self.said: list[str] = []
        self.actions: list[Action] = []
        self.at = 100.0
        self.spec = {**asdict(build.SPEC), **spec}
        self.process = process(10)
        command, said = ("yolo", "train"), self.said.append
        records = Records.begin(self.journal, command, "/work", "auto", process(1), said)
        self.run, self.records = records.run, records
        self.core = Core(records, policy or Policy())

    def step(self, event: events.Event) -> list[Action]:
        actions = self.core.step(event)
        self.actions += actions
        self.said += [action.sentence for action in actions if isinstance(action, Say)]
        return actions

    def of(self, kind: type[A]) -> list[A]:
        """All actions of this kind so far."""
        return [action for action in self.actions if isinstance(action, kind)]

    # -- what happens -----------------------------------------------------------------------------

    def wait(self, seconds: float) -> list[Action]:
        self.at += seconds
        return self.step(events.Tick(self.at))

    def start(self) -> None:
        """The user's own attempt, as far as a hook that has connected."""
        self.step(events.Started(0, self.process, self.at))
        self.connect()

    def start_here(self) -> None:
        """The same of a real process that has saved an epoch: this one."""
        own = proc.process_key(os.getpid())
        assert own is not None
        self.process = own
        self.start()
        self.train()

    def see(self, driver: Nvml) -> None:
        """What the driver says, as the thread that asks it tells it, and a look at that."""
        self.step(events.DevicesSeen(DeviceWatch(driver).look(), self.at))
        self.wait(1.0)

    def connect(self, connection: int = 1, who: ProcessKey | None = None) -> list[Action]:
        self.step(events.HookConnected(who or self.process, 0, connection))
        return self.tell("hello", connection, pid=(who or self.process).pid, python="3.12.0")

    def tell(self, kind: str, connection: int = 1, **fields: Any) -> list[Action]:
        message = received(kind, fields)
        return self.step(events.HookMessage(connection, self.process, kind, message, self.at))

    def describe(self, connection: int = 1, **changes: Any) -> list[Action]:
        return self.tell("run", connection, **{**self.spec, **changes})

    def train(self, epoch: int = 11, connection: int = 1) -> list[Action]:
        """A described training that has completed and saved an epoch."""
        self.describe(connection)
        self.tell("epoch_end", connection, epoch=epoch, validated=True)
        return self.tell("checkpoint", connection, path=LAST, epoch=epoch, step=450)

    def fail(self, words: LastWords | None = None, connection: int = 1) -> list[Action]:
        """The last words alone: the process still lives."""
        return self.tell("last_words", connection, **words_fields(words))

    def gone(self, connection: int = 1) -> list[Action]:
        return self.step(events.HookGone(connection, self.process, self.at))

    def exit(self, status: int | None = 1, signal: int | None = None) -> list[Action]:
        return self.step(events.ProcessExited(self.process, status, signal, self.at))

    def signal(self, number: int, *, forward: bool = True) -> list[Action]:
        return self.step(events.SignalReceived(number, forward, self.at))

    def run_out_of_memory(self, connection: int = 1) -> list[Action]:
        """Last words, exit and the end of the connection; the actions that follow."""
        self.fail(connection=connection)
        self.exit()
        return self.gone(connection)

    # -- what the executor answers -----------------------------------------------------------------

    def asked(self) -> RunStep:
        """The step that is due."""
        return self.of(RunStep)[-1]

    def done(self, **result: Any) -> list[Action]:
        """The step that is due is done, with the usual result."""
        due = self.asked()
        found = RESULTS.get(due.step, {}) | result
        if due.step == "relaunch":
            self.process = process(self.process.pid + 1)
            found = {"process": self.process} | result
        plan = due.remediation.plan_id
        return self.step(events.StepDone(plan, due.step, f"{due.step} is done", self.at, found))

    def failed(self, reason: str = "it cannot be done") -> list[Action]:
        due = self.asked()
        plan = due.remediation.plan_id
        return self.step(events.StepFailed(plan, due.step, reason, self.at))

    def carry_out(self, until: str | None = None) -> list[Action]:
        """Answer steps until the one named is due, or until the run is started again."""
        while self.asked().step != (until or "relaunch"):
            self.done()
        return [] if until else self.done()

    # -- what is on disk ------------------------------------------------------------------

    def plans(self) -> tuple[PlanRecord, ...]:
        """Read through a connection of its own: what others would see."""
        with Journal(self.journal.path) as other:
            return other.plans(self.run)

    def steps(self) -> list[tuple[str, str]]:
        (plan,) = self.plans()
        return [(step.name, step.state) for step in plan.steps]

    def incidents(self) -> tuple[IncidentRecord, ...]:
        return self.journal.incidents(self.run)

    def outcomes(self) -> list[str | None]:
        return [attempt.outcome for attempt in self.journal.attempts(self.run)]

    # -- what it comes to ------------------------------------------------------------------

    def status(self) -> int | None:
        """The exit status of the supervision, once it is over."""
        finished = self.of(Finish)
        assert len(finished) <= 1
        return finished[0].exit_status if finished else None

    def restored(self) -> list[str]:
        return [change.path for action in self.of(RestoreFiles) for change in action.changes]

    def signals(self) -> list[tuple[ProcessKey, int]]:
        return [(action.process, action.number) for action in self.of(Signal)]


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can be written to: the journal's writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
