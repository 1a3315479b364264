"""What the executor's tests are made of: fakes at the ports, and run directories of real files."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from tests.daemon.scenes import process
from tests.decide import build
from yolowatch.edges.clock import Clock
from yolowatch.edges.nvml import DeviceReading, GpuProcess, NoNvml, Nvml
from yolowatch.errors import LaunchError
from yolowatch.hands.executor import Executor
from yolowatch.hands.launching import Hooking, Launcher, as_child
from yolowatch.hands.port import Hands, Launched
from yolowatch.hands.vaulting import Vaults
from yolowatch.model import events
from yolowatch.model.actions import Remediation, RunStep
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Edits, Plan, Policy
from yolowatch.model.receipt import ResumePoint
from yolowatch.model.run import RunSpec

EDITS = Edits(batch=8, nbs=64, weight_decay=0.0005)
COMMAND = ("yolo", "detect", "train", "data=d.yaml", "model=m.pt", "batch=16")


# ---------------------------------------------------------------- the ports


class FakeClock:
    """Stands still until somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeHands:
    """Starts nothing and remembers what it was to start; `trouble` is why it cannot."""

    trouble: str | None = None
    launches: list[tuple[tuple[str, ...], dict[str, str], Path]] = field(default_factory=list)
    signals: list[tuple[ProcessKey, int]] = field(default_factory=list)

    def launch(self, command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Launched:
        if self.trouble is not None:
            raise LaunchError(self.trouble)
        self.launches.append((tuple(command), dict(environment), cwd))
        return Launched(process(70 + len(self.launches)), -1)

    def watch(self, launched: Launched, post: events.Post) -> None:
        """Nothing was started that could end."""

    def signal(self, process: ProcessKey, number: int) -> bool:
        self.signals.append((process, number))
        return True


@dataclass
class FakeNvml:
    """One GPU on which these pids compute, reading by reading; None is unreadable.

    `free` is what it has free, in bytes, reading by reading; empty is unreadable. `used` is what
    each pid holds.
    """

    readings: list[set[int] | None]
    free: list[int] = field(default_factory=list)
    asked: int = 0
    used: dict[int, int] = field(default_factory=dict)
    total: int | None = None

    @property
    def reason(self) -> str | None:
        return None

    def devices(self) -> tuple[DeviceReading, ...]:
        free = self.free[min(self.asked, len(self.free) - 1)] if self.free else None
        return (DeviceReading(0, total_bytes=self.total, free_bytes=free),)

    def processes(self, index: int) -> tuple[GpuProcess, ...] | None:
        pids = self.readings[min(self.asked, len(self.readings) - 1)]
        self.asked += 1
        return (
            None
            if pids is None
            else tuple(GpuProcess(pid, self.used.get(pid)) for pid in sorted(pids))
        )

    def close(self) -> None:
        """There is no driver."""


@dataclass
class SeveralGpus:
    """GPUs that are alike, each with what it has free and the pids on it; None is unreadable."""

    free: Sequence[int | None]
    users: Sequence[set[int] | None]
    total: int = 24 << 30
    name: str = "NVIDIA H200"

    @property
    def reason(self) -> str | None:
        return None

    def devices(self) -> tuple[DeviceReading, ...]:
        return tuple(
            DeviceReading(
                index,
                name=self.name,
                total_bytes=self.total,
                used_bytes=None if free is None else self.total - free,
                free_bytes=free,
                utilization_ratio=0.0,
                xids=0,
            )
            for index, free in enumerate(self.free)
        )

    def processes(self, index: int) -> tuple[GpuProcess, ...] | None:
        pids = self.users[index]
        return None if pids is None else tuple(GpuProcess(pid, None) for pid in sorted(pids))

    def close(self) -> None:
        """There is no driver."""


# ---------------------------------------------------------------- files


def write_checkpoint(
    path: Path, epoch: int = 3, *, optimizer: bool = True, facts: object = None
) -> bytes:
    """A file laid out as `torch.save` does, of plain values; its bytes."""
    state = {"state": {}} if optimizer else None
    facts = facts or {"epoch": epoch, "model": None, "optimizer": state}
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(facts, protocol=2))
        archive.writestr("archive/data/0", b"\7" * 50_000)
        archive.writestr("archive/version", b"3\n")
    return path.read_bytes()


class RunDir:
    """The directory of a run whose checkpoint is of epoch 3 and whose table says one more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = path / "weights" / "last.pt"
        self.args = path / "args.yaml"
        self.results = path / "results.csv"
        write_checkpoint(self.last)
        self.args.write_text("task: detect\nbatch: 16\nnbs: 64\nweight_decay: 0.0005\n")
        rows = [f"{epoch},{epoch * 10},0.5" for epoch in range(1, 6)]
        self.results.write_text("\n".join(["epoch,time,loss", *rows]) + "\n")

    def configuration(self) -> dict[str, Any]:
        return dict(yaml.safe_load(self.args.read_text()))

    def epochs(self) -> list[int]:
        return [int(line.split(",")[0]) for line in self.results.read_text().splitlines()[1:]]

    def content(self) -> dict[str, bytes]:
        """Every file of the user's; the vault is ours."""
        found = [path for path in sorted(self.path.rglob("*")) if path.is_file()]
        return {
            str(path.relative_to(self.path)): path.read_bytes()
            for path in found
            if ".yolowatch" not in path.parts
        }


# ---------------------------------------------------------------- the executor


def spec(**changes: Any) -> RunSpec:
    return replace(build.SPEC, **{"device": "cpu", **changes})


def plan() -> Plan:
    return Plan("incident", 1, EDITS, (), None, None, 0.05, "it did not fit", (), 64)


class Bench:
    """An executor whose `do` carries out one step for the run in `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        hands: Hands | None = None,
        clock: Clock | None = None,
        nvml: Nvml | None = None,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = COMMAND,
        policy: Policy | None = None,
        **user: Any,
    ) -> None:
        self.dir = RunDir(folder / "run")
        self.user = spec(**{"run_dir": str(self.dir.path), **user})
        self.hands = hands or FakeHands()
        self.clock = clock or FakeClock()
        self.posted: list[events.Event] = []
        self.vaults = Vaults(self.clock, 2, self.post)
        self.hooking = Hooking(folder / "stage", folder / "hook.sock")
        self.launcher = Launcher(
            command,
            environment if environment is not None else {"PATH": "/bin"},
            self.hooking,
            as_child(self.hands, lambda launched: self.hands.watch(launched, self.post)),
            self.clock,
            policy or Policy(),
            nvml or NoNvml("no driver"),
        )
        self.executor = Executor(
            self.hands, self.clock, policy or Policy(), self.launcher, self.vaults
        )

    def post(self, event: events.Event) -> bool:
        self.posted.append(event)
        return True

    def do(
        self,
        step: str,
        resume: ResumePoint | None = None,
        processes: tuple[ProcessKey, ...] = (),
        saved: bool = True,
    ) -> events.StepDone | events.StepFailed:
        folder, last = str(self.dir.path), str(self.dir.last)
        order = Remediation("plan", plan(), self.user, 0, folder, last, saved, processes)
        answer = self.executor.run(RunStep(order, step, resume))
        assert (answer.plan, answer.step) == ("plan", step)
        return answer

    def done(self, step: str, *args: Any, **kwargs: Any) -> Mapping[str, Any]:
        """What the step found; it must have been carried out."""
        answer = self.do(step, *args, **kwargs)
        assert isinstance(answer, events.StepDone), answer
        return answer.result

    def refused(self, step: str, *args: Any, **kwargs: Any) -> str:
        """Why the step could not be carried out."""
        answer = self.do(step, *args, **kwargs)
        assert isinstance(answer, events.StepFailed), answer
        return answer.reason
