"""`ServiceHands` of a core without rights: every effect is asked of the root helper.

What needs nobody's rights is done here: waiting for a device, watching for the end of a process. A
helper that has gone is looked for again with each request. What is asked in a thread that may wait
is asked again where the helper went in the midst of it: every request can be made twice.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from yolowatch.edges import plain
from yolowatch.edges.clock import Clock, SystemClock
from yolowatch.edges.nvml import Nvml
from yolowatch.errors import CaptureError
from yolowatch.hands.exits import Exits
from yolowatch.hands.helper import protocol, translating
from yolowatch.hands.helper.bounds import Refused
from yolowatch.hands.memory import wait_step
from yolowatch.hands.port import Inspected, PostOf
from yolowatch.model.actions import RestoreFiles, RunStep, VaultCheckpoint
from yolowatch.model.events import CheckpointRefused, StepDone, StepFailed
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Policy
from yolowatch.model.receipt import FileChange, ResumePoint

_RETRY_SECONDS = 0.02
_PATIENCE_SECONDS = 30.0  # a helper that was killed or upgraded is back within it
_AGAIN_SECONDS = 0.2


class _Gone(Refused):
    """There is no helper, or it went before it answered."""


class HelperHands:
    """Implements `ServiceHands`; its methods may be called from any thread."""

    def __init__(
        self,
        path: Path,
        policy_of: Callable[[str], Policy],
        nvml: Nvml,
        post: PostOf,
        *,
        grace_seconds: Callable[[], float] = lambda: 60.0,
        clock: Clock | None = None,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._patience_seconds = patience_seconds
        self._path, self._policy_of, self._nvml, self._post = path, policy_of, nvml, post
        self._grace_seconds = grace_seconds
        self._clock = clock or SystemClock()
        self._exits = Exits(post, self._clock)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._pending: dict[int, Future[dict[str, Any]]] = {}
        self._last = 0
        self._closed = False
        self._runs: dict[str, set[ProcessKey]] = {}

    def capture(self, run: str, process: ProcessKey) -> Inspected:
        try:
            fields = {"process": translating.process_to_json(process)}
            found = self._ask_until_told("capture", run, fields)
        except Refused as refused:
            raise CaptureError(str(refused)) from None
        with self._lock:
            self._runs.setdefault(run, set()).add(process)
        return plain.from_json(Inspected, json.dumps(found))

    def forget(self, run: str) -> None:
        with self._lock:
            self._runs.pop(run, None)
        with contextlib.suppress(Refused):
            self._ask("forget", run, {})

    def step(self, run: str, request: RunStep) -> StepDone | StepFailed:
        plan, step = request.remediation.plan_id, request.step
        try:
            detail, result = self._step(run, request)
        except Refused as refused:
            return StepFailed(plan, step, str(refused), self._clock.monotonic())
        return StepDone(plan, step, detail, self._clock.monotonic(), result)

    def restore(self, run: str, request: RestoreFiles) -> list[str]:
        if not request.changes:
            return []
        try:
            fields = {**translating.restore_to_json(request), "policy": self._policy(run)}
            found: list[str] = self._ask("restore", run, fields)["troubles"]
        except Refused as refused:
            return [f"the files of run {run} were not put back: {refused}"]
        return found

    def vault(self, run: str, request: VaultCheckpoint) -> None:
        try:
            fields = {**translating.vault_to_json(request), "policy": self._policy(run)}
            self._ask("vault", run, fields)
        except Refused as refused:
            now = self._clock.monotonic()
            self._post(run, CheckpointRefused(request.path, str(refused), now))

    def signal(self, process: ProcessKey, number: int) -> bool:
        """The run of a rank or a worker is not told: the helper knows whose it is."""
        with self._lock:
            known = sorted(self._runs, key=lambda run: process not in self._runs[run])
        fields = {"process": translating.process_to_json(process), "number": int(number)}
        refusal = Refused("no run is known")
        for run in known:
            try:
                return bool(self._ask("signal", run, fields)["sent"])
            except Refused as refused:
                refusal = refused
        raise PermissionError(1, str(refusal))

    def watch(self, process: ProcessKey) -> None:
        self._exits.watch(process)

    def close(self) -> None:
        self._closed = True
        with self._lock:
            connection, self._socket = self._socket, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._exits.close()

    def _step(self, run: str, request: RunStep) -> tuple[str, dict[str, Any]]:
        order = request.remediation
        if request.step == "wait":
            seconds = self._policy_of(run).memory_wait_seconds
            return wait_step(order, self._nvml, self._clock, seconds)
        fields = {**translating.step_to_json(request), "policy": self._policy(run)}
        answer = self._ask_until_told("step", run, fields)
        if "failed" in answer:
            raise Refused(answer["failed"])
        result = _result(answer["result"])
        process = result.get("process")
        if process is not None:
            with self._lock:
                self._runs.setdefault(run, set()).add(process)
        return answer["detail"], result

    def _policy(self, run: str) -> dict[str, Any]:
        return translating.policy_to_json(self._policy_of(run), self._grace_seconds())

    # -- the connection -------------------------------------------------------------------------

    def _ask_until_told(self, verb: str, run: str, fields: dict[str, Any]) -> dict[str, Any]:
        """The answer of this helper or of its successor; for a thread that may wait for it."""
        deadline = self._clock.monotonic() + self._patience_seconds
        while True:
            try:
                return self._ask(verb, run, fields)
            except _Gone:
                if self._closed or self._clock.monotonic() >= deadline:
                    raise
            self._clock.sleep(_AGAIN_SECONDS)

    def _ask(self, verb: str, run: str, fields: dict[str, Any]) -> dict[str, Any]:
        """The helper's answer; raises Refused, also where there is no helper."""
        future: Future[dict[str, Any]] = Future()
        with self._lock:
            self._last += 1
            number = self._last
            data = protocol.encode(protocol.Request(number, verb, run, fields))
            try:
                connection = self._socket or self._connect()
                self._pending[number] = future
                connection.send(data)
            except OSError as error:
                self._pending.pop(number, None)
                raise _Gone(
                    f"the helper cannot be reached ({error.strerror}): is "
                    "yolowatch-helper.socket active?"
                ) from None
        answer = future.result()
        if "gone" in answer:
            raise _Gone(answer["gone"])
        if "refused" in answer:
            raise Refused(answer["refused"])
        found: dict[str, Any] = answer["result"]
        return found

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(str(self._path))
        except OSError:
            connection.close()
            raise
        self._socket = connection
        threading.Thread(
            target=self._listen, args=(connection,), name="yolowatch-helper", daemon=True
        ).start()
        return connection

    def _listen(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(protocol.MAX_ANSWER_BYTES + 1):
                self._take(json.loads(data))
        except OSError:
            pass  # the same as its end
        finally:
            with self._lock:
                if self._socket is connection:
                    self._socket = None
                left, self._pending = self._pending, {}
            connection.close()
            for future in left.values():
                future.set_result({"gone": "the helper went while it was asked"})

    def _take(self, answer: dict[str, Any]) -> None:
        if "event" in answer:
            event = translating.event(answer["event"], self._clock.monotonic())
            while not self._post(answer["run"], event):
                self._clock.sleep(_RETRY_SECONDS)
            return
        with self._lock:
            future = self._pending.pop(answer.get("id", 0), None)
        if future is not None:
            future.set_result(answer)


def _result(found: dict[str, Any]) -> dict[str, Any]:
    """What a step found, as the model's nouns."""
    result = dict(found)
    if "resume" in found:
        result["resume"] = plain.from_json(ResumePoint, json.dumps(found["resume"]))
    if "process" in found:
        result["process"] = ProcessKey(**found["process"])
    if "files" in found:
        result["files"] = tuple(FileChange(**each) for each in found["files"])
    return result
