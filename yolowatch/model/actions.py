"""What the core asks for: frozen requests that `app`, `service` and the hands carry out.

The core decides and journals; it never touches a process or a file of the user's itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from yolowatch.model.attach import AttachPolicy
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Edits, Plan
from yolowatch.model.receipt import FileChange, ResumePoint
from yolowatch.model.run import EmergencySave, RunSpec


@dataclass(frozen=True)
class Say:
    """One sentence for the person at the terminal."""

    sentence: str


@dataclass(frozen=True)
class Signal:
    """Send a signal to one process of the run."""

    process: ProcessKey
    number: int


@dataclass(frozen=True)
class VaultCheckpoint:
    """Copy a checkpoint that the trainer has just completed."""

    path: str
    run_dir: str
    attempt: int
    epoch: int


@dataclass(frozen=True)
class CountBoxes:
    """Find out how many boxes the densest image of the data set `data` (a data.yaml) has."""

    run: str
    data: str


@dataclass(frozen=True)
class Remediation:
    """All that the executor needs to know about one plan."""

    plan_id: str
    plan: Plan
    user: RunSpec
    failed_attempt: int
    run_dir: str
    checkpoint: str  # where the trainer saves
    saved: bool  # whether this run did: what else lies there is another training's
    processes: tuple[ProcessKey, ...]  # of the failed attempt
    emergency: EmergencySave | None = None  # what it says it saved of itself
    copies: tuple[str, ...] = ()  # of its checkpoints, that an earlier daemon put into the vault
    adopted: bool = False  # somebody else started it, and may start it again

    @property
    def steps(self) -> tuple[str, ...]:
        """What is to be done, in this order."""
        return (GRACE, *STEPS) if self.adopted else STEPS


@dataclass(frozen=True)
class RunStep:
    """Carry out one step of a plan; the intent is in the journal already."""

    remediation: Remediation
    step: str
    resume: ResumePoint | None = None


@dataclass(frozen=True)
class Order:
    """Ask a hook for a live change; the intent is in the journal already."""

    connection: int
    number: int  # by which the hook answers
    name: str
    value: float


@dataclass(frozen=True)
class RestoreFiles:
    """Put the user's files back as they were before the first remediation."""

    changes: tuple[FileChange, ...]


@dataclass(frozen=True)
class Launch:
    """Start the command: `edits` and `resume` are None for the user's own attempt."""

    attempt: int
    edits: Edits | None = None
    resume: ResumePoint | None = None


@dataclass(frozen=True)
class Finish:
    """The supervision is over; `exit_status` is what yolowatch itself returns."""

    exit_status: int


@dataclass(frozen=True)
class Adopt:
    """Find out where a training came from and keep how it was started, under the run's new id.

    With a `launcher` the process is a rank, and its launcher is what would be started again.
    """

    run: str
    process: ProcessKey
    run_dir: str | None
    launcher: ProcessKey | None = None


@dataclass(frozen=True)
class Attach:
    """Bring the hook into a training that runs already, as far as the policy goes."""

    process: ProcessKey
    policy: AttachPolicy


@dataclass(frozen=True)
class Watch:
    """Tell when this process ends."""

    process: ProcessKey


@dataclass(frozen=True)
class Forget:
    """The run is over: what was kept of it is not needed any more."""


Action = (
    Say | Signal | Order | VaultCheckpoint | CountBoxes | RunStep | RestoreFiles | Launch | Finish
)

STEPS = ("stop", "vault", "rewrite", "wait", "relaunch")
"""The order of a remediation."""
GRACE = "grace"
"""Before them, where whoever started the run may start it again: then nothing is done."""
