"""What a core knows, as frozen data: written after each step that matters, read by a successor.

A daemon that was killed at any moment finds here the run as it stood before its last request, and
makes that request again; every request can be made twice. No environment is in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from yolowatch.daemon.lessons import Lessons
from yolowatch.model.actions import Remediation
from yolowatch.model.adoption import Adoption
from yolowatch.model.events import ProcessExited
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Edits
from yolowatch.model.receipt import FileChange, Receipt, ResumePoint
from yolowatch.model.run import RunSpec, RunState
from yolowatch.model.verdict import Verdict


@dataclass(frozen=True)
class Told:
    """What one process of an attempt has said so far."""

    state: RunState
    process: ProcessKey
    parent: ProcessKey | None
    grandparent_pid: int | None


@dataclass(frozen=True)
class AttemptMemento:
    """The attempt that runs, or that ended last."""

    number: int
    process: ProcessKey
    started_at: float
    edits: Edits | None = None
    told: tuple[Told, ...] = ()
    exited: ProcessExited | None = None
    asked_to_stop: bool = False
    term_sent_at: float | None = None
    ordered_multi_scale: float | None = None
    distrusted: str | None = None


@dataclass(frozen=True)
class RemedyMemento:
    """A remediation on its way, or one that waits for approval."""

    order: Remediation
    verdict: Verdict
    state: RunState
    ended_at: float
    status: int
    step: str
    resume: ResumePoint | None = None
    files: tuple[FileChange, ...] = ()
    wait_seconds: float = 0.0


@dataclass(frozen=True)
class HealingMemento:
    """What was planned and carried out for a run."""

    lessons: Lessons
    restorable: tuple[FileChange, ...] = ()
    carried_out: str | None = None
    receipts: tuple[Receipt, ...] = ()
    remedy: RemedyMemento | None = None
    waiting: str | None = None
    refused: int = 0
    planned: int = 0


@dataclass(frozen=True)
class Memento:
    """One run."""

    user: RunSpec | None
    attempt: AttemptMemento
    healing: HealingMemento
    verdicts: tuple[Verdict, ...] = ()
    copies: tuple[str, ...] = ()
    vaulted: int = 0


@dataclass(frozen=True)
class RunMemento:
    """One run of a service, with where it came from."""

    adoption: Adoption
    core: Memento
    reason: str | None = None  # why it can only be observed
