"""The runs that the helper knows: who may be captured, and the worker of each.

What is captured outlives the core and the helper itself, in the private store; it goes with the
run. Everything here is decided from what the kernel says, and nothing from what the core says.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolowatch.edges import plain, proc
from yolowatch.edges.ancestry import ancestors
from yolowatch.edges.capture import capture
from yolowatch.edges.captures import CaptureStore, Kept
from yolowatch.edges.clock import Clock
from yolowatch.errors import CaptureError
from yolowatch.hands.helper.bounds import Refused
from yolowatch.hands.helper.protocol import Request
from yolowatch.hands.helper.workers import Reply, Staged, Worker
from yolowatch.hands.inspecting import inspected
from yolowatch.model.identity import ProcessKey

MAX_RUNS = 256
_WORDS, _WORD = 16, 64
_MAPS_BYTES = 16 * 1024**2
_FIRST = "/proc/1"  # systemd, which starts the starter; the helper's own namespaces are a sandbox


@dataclass(frozen=True)
class Rules:
    """Whose trainings the helper works on. Users below `first_uid` are the system's."""

    core_uid: int
    first_uid: int = 1000
    also: frozenset[int] = frozenset()  # named by the administrator, root among them if so

    def obstacle(self, uid: int) -> str | None:
        if uid in self.also:
            return None
        if uid == self.core_uid:
            return f"uid {uid} is the service's own"
        if uid < self.first_uid:
            return f"uid {uid} is root or the system's, whose processes are not touched"
        return None


class Registry:
    """May be used from any thread; its methods raise Refused and CaptureError."""

    def __init__(
        self,
        rules: Rules,
        store: CaptureStore,
        staged: Staged,
        clock: Clock,
        tell: Callable[[str, Any], None],
    ) -> None:
        self._rules, self._store, self._staged = rules, store, staged
        self._clock, self._tell = clock, tell
        self._lock = threading.Lock()
        self._workers: dict[str, Worker] = {}

    def capture(self, run: str, process: ProcessKey) -> dict[str, Any]:
        """Keep how a training was started; what the core may know of it."""
        owner = proc.owner(process.pid)  # before anything of the process is read
        if owner is not None and (obstacle := self._rules.obstacle(owner)) is not None:
            raise CaptureError(f"Process {process.pid} is not captured: {obstacle}.")
        captured = capture(process, "/proc/self" if self._staged.door is None else _FIRST)
        if (obstacle := self._rules.obstacle(captured.uid)) is not None:
            raise CaptureError(f"Process {process.pid} is not captured: {obstacle}.")
        if not _holds_torch(process.pid) or proc.process_key(process.pid) != process:
            raise CaptureError(f"Process {process.pid} is not captured: it holds no torch.")
        kept = Kept(captured, ancestors(process))
        with self._lock:
            if run not in self._workers and len(self._workers) >= MAX_RUNS:
                raise Refused(f"more than {MAX_RUNS} runs are known: forget one first")
        self._end(run)
        try:
            self._store.save(run, kept)
        except OSError as error:
            raise CaptureError(f"What was captured cannot be kept ({error.strerror}).") from error
        self._worker(run)
        found: dict[str, Any] = json.loads(plain.to_json(inspected(kept)))
        for ancestor in found["ancestors"]:  # for people to recognise, not to read whole
            ancestor["argv"] = [word[:_WORD] for word in ancestor["argv"][:_WORDS]]
        return found

    def forget(self, run: str) -> None:
        self._end(run)
        self._store.forget(run)

    def ask(self, request: Request, reply: Reply) -> None:
        """Hand a request to the run's worker."""
        self._worker(request.run).ask(request, reply)

    def close(self) -> None:
        """End all workers; no training is touched, and nothing is forgotten."""
        with self._lock:
            runs = tuple(self._workers)
        for run in runs:
            self._end(run)

    def _worker(self, run: str) -> Worker:
        """The worker of a run that was captured, also by a helper before this one."""
        with self._lock:
            found = self._workers.get(run)
            if found is not None and not found.ended:
                return found
            kept = self._store.load(run)
            if kept is None or kept.captured.process.boot_id != proc.boot_id():
                raise Refused(f"run {run} was never captured, or has been forgotten")
            if len(self._workers) >= MAX_RUNS and run not in self._workers:
                raise Refused(f"more than {MAX_RUNS} runs are known: forget one first")
            worker = Worker(
                run, kept, self._began(kept), self._staged, lambda event: self._tell(run, event)
            )
            self._workers[run] = worker
            return worker

    def _end(self, run: str) -> None:
        with self._lock:
            worker = self._workers.pop(run, None)
        if worker is not None:
            worker.close()

    def _began(self, kept: Kept) -> float:
        """When the captured process was started, in seconds of the wall, as files have them."""
        ticks = kept.captured.process.start_ticks / os.sysconf("SC_CLK_TCK")
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return self._clock.wall() - (uptime - ticks)


def _holds_torch(pid: int) -> bool:
    """Whether the process has torch's library in its memory: nothing else is ever started again."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            return b"/libtorch" in file.read(_MAPS_BYTES)
    except OSError:
        return False
