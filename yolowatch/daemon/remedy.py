"""One remediation on its way: its steps in order, what each found, and the receipt at the end.

A state machine without effects: `take_in` takes what a step found, `receipt` sums it up.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from typing import Any

from yolowatch.daemon.memento import RemedyMemento
from yolowatch.model import events
from yolowatch.model.actions import STEPS, Remediation, RunStep
from yolowatch.model.receipt import FileChange, Receipt, ResumePoint, costs_of, science_notes
from yolowatch.model.run import RunState
from yolowatch.model.verdict import Verdict


@dataclass
class Remedy:
    """A plan that is being carried out for the attempt that ended at `ended_at` with `status`."""

    order: Remediation
    verdict: Verdict
    state: RunState
    ended_at: float
    status: int
    step: str = ""  # the one that is being carried out; at first the first
    resume: ResumePoint | None = None
    files: tuple[FileChange, ...] = ()
    wait_seconds: float = 0.0
    interrupted: int | None = None  # the number of a signal that waits for the step's end

    def __post_init__(self) -> None:
        self.step = self.step or self.order.steps[0]

    def awaits(self, event: events.StepDone | events.StepFailed) -> bool:
        """Whether this is the answer that is due."""
        return (event.plan, event.step) == (self.order.plan_id, self.step)

    def advance(self) -> None:
        steps = self.order.steps
        self.step = steps[steps.index(self.step) + 1]

    def approve(self) -> None:
        """A person wants it: nobody else is waited for."""
        self.step = STEPS[0]

    def remember(self) -> RemedyMemento:
        """What a successor of this daemon needs to go on with it."""
        return RemedyMemento(
            self.order,
            self.verdict,
            self.state,
            self.ended_at,
            self.status,
            self.step,
            self.resume,
            self.files,
            self.wait_seconds,
        )

    @classmethod
    def restored(cls, memento: RemedyMemento) -> Remedy:
        return cls(
            memento.order,
            memento.verdict,
            memento.state,
            memento.ended_at,
            memento.status,
            memento.step,
            memento.resume,
            memento.files,
            memento.wait_seconds,
        )

    def request(self) -> RunStep:
        return RunStep(self.order, self.step, self.resume)

    def take_in(self, event: events.StepDone) -> None:
        """Take in what a finished step found."""
        result: Any = event.result
        if event.step == "vault":
            self.resume = result["resume"]
        elif event.step == "rewrite":
            self.files = result["files"]
        elif event.step == "wait":
            self.wait_seconds += result["seconds"]

    def lacks_room(self, event: events.StepDone) -> bool:
        """Whether the device has not yet what the next attempt needs."""
        return event.step == "wait" and event.result.get("ready") is False

    def gave_up_waiting(self) -> str | None:
        """Why no room is waited for any longer, or None."""
        room = self.order.plan.room
        if room is not None and self.wait_seconds < room.seconds:
            return None
        return room.reason if room is not None else "the device is not free"

    def receipt(self, run: str, restarted_at: float) -> Receipt:
        """The receipt at the moment of the relaunch; what is not known yet is None."""
        assert self.resume is not None, "the vault step names the resume point"
        words = self.state.last_words
        failed_at = words.at if words is not None else self.ended_at
        costs = replace(
            costs_of(self.state, self.resume, failed_at, self.ended_at),
            restart_seconds=restarted_at - self.ended_at - self.wait_seconds,
            memory_wait_seconds=self.wait_seconds,
        )
        plan, user = self.order.plan, self.order.user
        return Receipt(
            run=run,
            incident=plan.incident,
            attempt=self.order.failed_attempt,
            verdict=self.verdict,
            plan=plan,
            user=user,
            failed_peak_bytes=self._peak_bytes(),
            resume=self.resume,
            files=self.files,
            costs=costs,
            science=science_notes(user, plan, self.resume, bool(self.state.retries)),
            undo=tuple(
                f"cp -p {_quoted(file.copy)} {_quoted(file.path)}"
                for file in self.files
                if file.copy
            ),
        )

    def _peak_bytes(self) -> int | None:
        """The most that was seen in use, in the last words as much as before."""
        words = self.state.last_words
        seen = [self.state.memory.peak_bytes, words.memory.peak_bytes if words else None]
        return max((each for each in seen if each is not None), default=None)


def _quoted(path: str) -> str:
    """As a shell reads it; in the form $'…' where the path is not plainly printable."""
    if path.isprintable():
        return shlex.quote(path)
    plain = (
        chr(b) if 32 <= b < 127 and b not in b"\\'" else f"\\x{b:02x}" for b in os.fsencode(path)
    )
    return f"$'{''.join(plain)}'"
