"""Carries out the steps of a plan, one at a time, in a thread of its own.

Each step checks again what it relies on, does one thing and answers with StepDone or StepFailed; it
decides nothing. A step that fails leaves the user's files as they were.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yolowatch.edges import files, proc
from yolowatch.edges.clock import Clock
from yolowatch.edges.vault import VaultRefused
from yolowatch.errors import YolowatchError
from yolowatch.hands.launching import Launcher
from yolowatch.hands.port import Hands
from yolowatch.hands.resuming import find_resume_point, forget_emergency, take_emergency
from yolowatch.hands.rewriting import MAX_BYTES, Rewriter
from yolowatch.hands.standing_by import StandBy, TakenOver
from yolowatch.hands.vaulting import Vaults
from yolowatch.model import events
from yolowatch.model.actions import Launch, Remediation, RestoreFiles, RunStep
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Policy, Start
from yolowatch.model.receipt import ResumePoint
from yolowatch.trainers.families import Family, family

_POLL_SECONDS = 0.02


class StepError(Exception):
    """A step could not be carried out; the text is the reason, for people."""


_EXPECTED = (StepError, TakenOver, YolowatchError, VaultRefused, files.Changed, OSError, ValueError)


class Executor:
    """`run` carries out one step and returns the event that reports it."""

    def __init__(
        self,
        hands: Hands,
        clock: Clock,
        policy: Policy,
        launcher: Launcher,
        vaults: Vaults,
        stand_by: StandBy | None = None,
    ) -> None:
        self._hands = hands
        self._clock = clock
        self._policy = policy
        self._launcher = launcher
        self._vaults = vaults
        self._stand_by = stand_by
        self._steps: Mapping[str, Callable[[RunStep], tuple[str, dict[str, Any]]]] = {
            "grace": self._grace,
            "stop": self._stop,
            "vault": self._find_checkpoint,
            "rewrite": self._rewrite,
            "wait": self._wait,
            "relaunch": self._relaunch,
        }

    def run(self, request: RunStep) -> events.StepDone | events.StepFailed:
        """Carry out one step."""
        plan = request.remediation.plan_id
        try:
            detail, result = self._steps[request.step](request)
        except _EXPECTED as error:
            reason = str(error) or type(error).__name__
            return events.StepFailed(plan, request.step, reason, self._clock.monotonic())
        return events.StepDone(plan, request.step, detail, self._clock.monotonic(), result)

    def restore(self, request: RestoreFiles) -> list[str]:
        """Put original files back; returns a sentence for each that could not be."""
        troubles = []
        for change in request.changes:
            path = Path(change.path)
            try:
                if change.copy is None:
                    continue
                original = files.read_bounded(Path(change.copy), MAX_BYTES)
                current = files.read_bounded(path, MAX_BYTES)
                files.replace_file(path, original, files.sha256(current))
            except (OSError, files.Changed) as error:
                troubles.append(f"{path} could not be put back from {change.copy}: {error}")
        return troubles

    # -- the steps ------------------------------------------------------------------------------

    def _grace(self, request: RunStep) -> tuple[str, dict[str, Any]]:
        """Whoever started the run may start it again first."""
        assert self._stand_by is not None, "only what was adopted is waited for"
        return self._stand_by.wait(Path(request.remediation.run_dir)), {}

    def _stop(self, request: RunStep) -> tuple[str, dict[str, Any]]:
        """Nothing of the failed attempt may live on: it would hold memory and write files."""
        if self._stand_by is not None:
            self._stand_by.claim(Path(request.remediation.run_dir))
        left = self._alive(request)
        for number, grace in (
            (None, 1.0),
            (signal.SIGTERM, self._policy.kill_grace_seconds),
            (signal.SIGKILL, self._policy.kill_grace_seconds),
        ):
            if not left:
                break
            for process in left if number is not None else ():
                self._hands.signal(process, int(number or 0))
            deadline = self._clock.monotonic() + grace
            while left and self._clock.monotonic() < deadline:
                self._clock.sleep(_POLL_SECONDS)
                left = self._alive(request)
        if left:
            names = ", ".join(str(process.pid) for process in left)
            raise StepError(f"processes of the failed attempt cannot be ended: {names}")
        return f"{len(request.remediation.processes)} process(es) gone", {}

    def _alive(self, request: RunStep) -> list[ProcessKey]:
        return [p for p in request.remediation.processes if proc.is_alive(p) is not False]

    def _find_checkpoint(self, request: RunStep) -> tuple[str, dict[str, Any]]:
        order = request.remediation
        saved = self._saved_by_itself(order)
        if saved is not None:
            return f"{saved.start.value}: {saved.reason}", {"resume": saved}
        if not order.saved and not self._may_have_saved(order):
            reason = "this run has saved no checkpoint yet"
            return f"afresh: {reason}", {"resume": ResumePoint(Start.AFRESH, reason)}
        self._vaults.settle()  # the newest checkpoint may still be on its way
        point = find_resume_point(
            Path(order.checkpoint),
            self._vaults.of(order.run_dir),
            self._vaults.newest(order.run_dir),
            self._own_copies(order),
            order.user.epochs,
        )
        return f"{point.start.value}: {point.reason}", {"resume": point}

    def _may_have_saved(self, order: Remediation) -> bool:
        """Whether an adopted training saved a checkpoint that no daemon heard of."""
        if not order.adopted:
            return False
        began = proc.started_at(order.processes[0])
        try:
            return began is not None and Path(order.checkpoint).stat().st_mtime >= began
        except OSError:
            return False

    def _own_copies(self, order: Remediation) -> frozenset[Path] | None:
        """The copies in the vault that are of this run; None: all are."""
        if order.user.resumed:
            return None
        return self._vaults.taken(order.run_dir) | {Path(each) for each in order.copies}

    def _saved_by_itself(self, order: Remediation) -> ResumePoint | None:
        """What the failed training saved of itself, if it did, may, and it is whole."""
        if order.emergency is None or self._policy.emergency == "never":
            return None
        self._vaults.settle()  # the trainer's own checkpoint gets its copy first
        vault = self._vaults.of(order.run_dir)
        last, number = Path(order.checkpoint), order.failed_attempt
        return take_emergency(last, vault, order.emergency, number, order.user.epochs)

    def _rewrite(self, request: RunStep) -> tuple[str, dict[str, Any]]:
        order, point = request.remediation, request.resume
        assert point is not None, "the vault step names the resume point"
        trainer = self._family(request)
        rewriter = Rewriter(self._vaults.of(order.run_dir), order.plan_id)
        run_dir = Path(order.run_dir)
        if point.start is Start.AFRESH:
            kept = 0 if trainer.ADDS_TO_RESULTS else None
        else:
            kept = point.rows

        def rewritten(name: str) -> Callable[[bytes], bytes]:
            return lambda old: trainer.rewrite(name, old, order.plan.edits)

        def trimmed(old: bytes) -> bytes:
            return trainer.trim_results(old, kept or 0)

        try:
            for name in trainer.CONFIGURATIONS:
                rewriter.edit(run_dir / name, rewritten(name))
            if kept is not None:
                rewriter.edit(run_dir / "results.csv", trimmed)
        except _EXPECTED:
            self.restore(RestoreFiles(rewriter.changes))
            raise
        changes = rewriter.changes
        names = ", ".join(Path(change.path).name for change in changes) or "nothing to rewrite"
        return names, {"files": changes}

    def _family(self, request: RunStep) -> Family:
        found = family(request.remediation.user.trainer)
        if found is None:
            raise StepError(
                f"{request.remediation.user.trainer} is a trainer that is only observed"
            )
        return found

    def _wait(self, request: RunStep) -> tuple[str, dict[str, Any]]:
        return self._launcher.wait_for_memory(request.remediation)

    def _relaunch(self, request: RunStep) -> tuple[str, dict[str, Any]]:
        order = request.remediation
        if request.resume is not None and request.resume.emergency is not None:
            # Only now: a daemon that was killed before would look for it once more.
            forget_emergency(self._vaults.of(order.run_dir))
        launch = Launch(order.plan.attempt, order.plan.edits, request.resume)
        process = self._launcher.launch(launch, order.user)
        return f"pid {process.pid}", {"process": process}
