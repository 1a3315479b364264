"""The service's hands for runs of the user that the daemon itself runs as.

Each run has a launcher, an executor and a vault of its own. A run of another user is refused: its
files must be touched with that user's rights, which is the helper's work (`hands.helper`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from yolowatch.edges.ancestry import ancestors
from yolowatch.edges.capture import capture
from yolowatch.edges.captures import CaptureStore, Kept
from yolowatch.edges.clock import Clock, SystemClock
from yolowatch.edges.nvml import Nvml
from yolowatch.errors import CaptureError
from yolowatch.hands.executor import Executor
from yolowatch.hands.exits import Exits
from yolowatch.hands.inspecting import adoption, inspected
from yolowatch.hands.launching import Hooking, Launcher, as_captured
from yolowatch.hands.local import LocalHands
from yolowatch.hands.port import Inspected, PostOf
from yolowatch.hands.standing_by import StandBy
from yolowatch.hands.vaulting import Vaults
from yolowatch.model.actions import RestoreFiles, RunStep, VaultCheckpoint
from yolowatch.model.events import CheckpointRefused, StepDone, StepFailed
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Policy


@dataclass(frozen=True)
class _Run:
    executor: Executor
    vaults: Vaults
    stand_by: StandBy


class InProcessHands:
    """Implements `ServiceHands`; its methods may be called from any thread."""

    def __init__(
        self,
        hooking: Hooking,
        policy_of: Callable[[str], Policy],
        nvml: Nvml,
        post: PostOf,
        store: CaptureStore,
        *,
        grace_seconds: Callable[[], float] = lambda: 60.0,
        clock: Clock | None = None,
    ) -> None:
        self._hooking, self._policy_of, self._nvml, self._post = hooking, policy_of, nvml, post
        self._store, self._grace_seconds = store, grace_seconds
        self._clock = clock or SystemClock()
        self._hands = LocalHands(self._clock)
        self._exits = Exits(post, self._clock)
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}

    def capture(self, run: str, process: ProcessKey) -> Inspected:
        captured = capture(process)
        if captured.uid != os.geteuid():
            raise CaptureError(
                f"Process {process.pid} belongs to uid {captured.uid}, whose files only the helper "
                "may touch: start yolowatch-helper.service, or a daemon as that user."
            )
        kept = Kept(captured, ancestors(process))
        try:
            self._store.save(run, kept)
        except OSError as error:
            raise CaptureError(
                f"How process {process.pid} was started cannot be kept ({error.strerror}): make "
                "room in the service's runtime directory."
            ) from error
        self._keep(run, self._build(run, kept))
        return inspected(kept)

    def forget(self, run: str) -> None:
        self._keep(run, None)
        self._store.forget(run)

    def step(self, run: str, request: RunStep) -> StepDone | StepFailed:
        found = self._find(run)
        if found is None:
            reason = "how this run was started is not known: its process was not captured"
            plan = request.remediation.plan_id
            return StepFailed(plan, request.step, reason, self._clock.monotonic())
        return found.executor.run(request)

    def restore(self, run: str, request: RestoreFiles) -> list[str]:
        found = self._find(run)
        if found is None:
            return [f"run {run} is not known here: nothing of it was put back"]
        return found.executor.restore(request)

    def vault(self, run: str, request: VaultCheckpoint) -> None:
        found = self._find(run)
        if found is not None:
            found.vaults.order(request)
            return
        reason = f"run {run} is not known here"
        self._post(run, CheckpointRefused(request.path, reason, self._clock.monotonic()))

    def signal(self, process: ProcessKey, number: int) -> bool:
        return self._hands.signal(process, number)

    def watch(self, process: ProcessKey) -> None:
        self._exits.watch(process)

    def close(self) -> None:
        with self._lock:
            runs = tuple(self._runs)
        for run in runs:
            self._keep(run, None)
        self._exits.close()

    def _build(self, run: str, kept: Kept) -> _Run:
        policy, captured = self._policy_of(run), kept.captured
        stand_by = StandBy(adoption(kept), self._grace_seconds(), self._clock)
        start = as_captured(captured, run, self._clock, stand_by.claim)
        launcher = Launcher(
            captured.argv,
            captured.environment,
            self._hooking,
            start,
            self._clock,
            policy,
            self._nvml,
        )
        budget_bytes = round(policy.vault_gib * 2**30)
        post = partial(self._post, run)
        vaults = Vaults(self._clock, policy.keep_checkpoints, post, budget_bytes)
        executor = Executor(self._hands, self._clock, policy, launcher, vaults, stand_by)
        threading.Thread(target=vaults.work, name=f"yolowatch-vault-{run}", daemon=True).start()
        return _Run(executor, vaults, stand_by)

    def _find(self, run: str) -> _Run | None:
        """What is known of a run, also by a daemon before this one."""
        with self._lock:
            found = self._runs.get(run)
        if found is None and (kept := self._store.load(run)) is not None:
            found = self._build(run, kept)
            self._keep(run, found)
        return found

    def _keep(self, run: str, kept: _Run | None) -> None:
        with self._lock:
            before = self._runs.pop(run, None)
            if kept is not None:
                self._runs[run] = kept
        if before is not None:
            before.vaults.stop()
            before.stand_by.release()
