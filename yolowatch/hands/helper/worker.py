"""The process that touches what is a user's: one for each run, with that user's rights.

It begins as root, because the helper's own code may lie where users cannot read it, and gives that
up before it hears of anything of the user's. The first request with a run directory binds it to
that directory for good: the user must own it, the training must have written into it, and from then
on the kernel refuses it everything else. It starts no training itself: it asks the helper to, who
does that outside of these bounds and with what was captured.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import json
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolowatch.edges import plain
from yolowatch.edges.beneath import confine, open_directory, status_beneath
from yolowatch.edges.captures import Kept
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.nvml import NoNvml
from yolowatch.errors import LaunchError
from yolowatch.hands.executor import Executor
from yolowatch.hands.helper import protocol, translating
from yolowatch.hands.helper.bounds import Refused
from yolowatch.hands.helper.channel import Channel
from yolowatch.hands.helper.kin import Kin
from yolowatch.hands.inspecting import adoption
from yolowatch.hands.launching import Hooking, Launcher, as_captured
from yolowatch.hands.local import LocalHands
from yolowatch.hands.standing_by import StandBy
from yolowatch.hands.vaulting import Vaults
from yolowatch.model import events
from yolowatch.model.captured import Captured
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Policy

_SLACK_SECONDS = 2.0  # of file systems that keep whole seconds


def main() -> int:
    """Serve the run that the helper names first, until the helper closes the channel."""
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    orders = channel.receive()
    if orders is None:
        return 1
    kept = plain.from_json(Kept, orders["kept"])
    _become(kept.captured)
    hooking = Hooking(Path(orders["stage"]), Path(orders["socket"]))
    worker = Worker(channel, orders["run"], kept, hooking, orders["began"])
    while (message := channel.receive()) is not None:
        worker.take(message)
    return 0


def _become(captured: Captured) -> None:
    """Give up root for good; what is needed of libraries afterwards is loaded before."""
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1")  # by which a thread ends
    codecs.lookup("cp437")  # of names in a checkpoint, as zipfile reads them
    os.chdir("/")
    os.umask(0o077)
    if os.geteuid() == 0 and captured.uid != 0:
        os.setgroups(captured.groups)
        os.setresgid(captured.gid, captured.gid, captured.gid)
        os.setresuid(captured.uid, captured.uid, captured.uid)
    if os.getresuid() != (captured.uid,) * 3:
        raise PermissionError(f"uid {captured.uid} could not be taken")


class Worker:
    """Carries out the requests of one run; steps one after the other, signals at once."""

    def __init__(
        self, channel: Channel, run: str, kept: Kept, hooking: Hooking, began: float
    ) -> None:
        self._channel, self._run, self._kept, self._hooking = channel, run, kept, hooking
        self._began = began  # when the captured process was started, by the clock of files
        self._clock = SystemClock()
        self._hands = LocalHands(self._clock)
        self._kin = Kin(run, kept.captured.process)
        self._run_dir: str | None = None
        self._vaults: Vaults | None = None
        self._stand_by: StandBy | None = None
        self._steps: queue.Queue[protocol.Request] = queue.Queue()
        self._started: queue.Queue[dict[str, Any]] = queue.Queue()

    def take(self, message: Mapping[str, Any]) -> None:
        """One message of the helper's: a request of the core's, or the answer to a start."""
        if "started" in message:
            self._started.put(message["started"])
            return
        request = protocol.decode(message["request"].encode())
        try:
            if request.verb == "signal":
                self._answer(request, self._signal(request))
                return
            self._bind(request.fields["run_dir"], request.fields["policy"])
        except (Refused, OSError) as error:
            self._refuse(request, error)
            return
        if request.verb == "vault":
            assert self._vaults is not None
            self._vaults.order(translating.vault(request.fields))
            self._answer(request, {})
        else:
            self._steps.put(request)

    def _signal(self, request: protocol.Request) -> dict[str, Any]:
        process = ProcessKey(**request.fields["process"])
        if not self._kin.has(process):
            raise Refused(f"process {process.pid} is none of this run's")
        return {"sent": self._hands.signal(process, request.fields["number"])}

    # -- the run directory ----------------------------------------------------------------------

    def _bind(self, run_dir: str, policy: Mapping[str, Any]) -> None:
        """Take this directory, and no other ever; raises Refused or OSError."""
        if self._run_dir is not None:
            if run_dir != self._run_dir:
                raise Refused("this run has another directory")
            return
        descriptor = open_directory(run_dir)
        try:
            if os.fstat(descriptor).st_uid != self._kept.captured.uid:
                raise Refused(f"{run_dir} does not belong to the run's user")
            if not self._was_written(descriptor):
                raise Refused(f"{run_dir} holds nothing that this training wrote")
            confine(descriptor, sys.path)  # before any other thread is there
        finally:
            os.close(descriptor)
        self._run_dir = run_dir
        self._kin.look_in(Path(run_dir))
        self._stand_by = StandBy(adoption(self._kept), policy["grace_seconds"], self._clock)
        budget_bytes = round(policy["vault_gib"] * 2**30)
        self._vaults = Vaults(self._clock, policy["keep_checkpoints"], self._post, budget_bytes)
        threading.Thread(target=self._ending(self._vaults.work), daemon=True).start()
        threading.Thread(target=self._ending(self._carry_out), daemon=True).start()

    def _was_written(self, directory: int) -> bool:
        """Whether a file of a training there was changed since the captured process began.

        Nobody but the user, whose training that was, can make it so.
        """
        for name in (*protocol.FILES, *protocol.CHECKPOINTS):
            status = status_beneath(directory, name)
            if status is not None and status.st_ctime >= self._began - _SLACK_SECONDS:
                return True
        return False

    def _ending(self, work: Callable[[], None]) -> Callable[[], None]:
        """A thread whose failure ends this process, so that the helper answers for it."""

        def supervised() -> None:
            try:
                work()
            finally:
                self._channel.close()

        return supervised

    # -- steps ----------------------------------------------------------------------------------

    def _carry_out(self) -> None:
        while True:
            request = self._steps.get()
            try:
                result = self._step(request) if request.verb == "step" else self._restore(request)
            except (Refused, OSError) as error:
                self._refuse(request, error)
            else:
                self._answer(request, result)

    def _executor(self, policy: Policy) -> Executor:
        assert self._vaults is not None
        assert self._stand_by is not None
        captured = self._kept.captured
        start = as_captured(captured, self._run, self._clock, self._stand_by.claim, self._begin)
        nvml = NoNvml("the core itself waits for the device")
        launcher = Launcher(
            captured.argv, captured.environment, self._hooking, start, self._clock, policy, nvml
        )
        return Executor(self._hands, self._clock, policy, launcher, self._vaults, self._stand_by)

    def _step(self, request: protocol.Request) -> dict[str, Any]:
        step = translating.step(request.fields)
        for process in step.remediation.processes:
            if not self._kin.has(process):
                raise Refused(f"process {process.pid} is none of this run's")
        if step.step in ("rewrite", "relaunch") and step.resume is None:
            raise Refused("resume: missing")
        if step.step == "relaunch" and self._kin.trains(step.remediation.plan.attempt):
            raise Refused("an attempt of this run is still alive")
        done = self._executor(translating.policy(request.fields["policy"])).run(step)
        if isinstance(done, events.StepFailed):
            return {"failed": done.reason}
        return {"detail": done.detail, "result": json.loads(plain.to_json(done.result))}

    def _restore(self, request: protocol.Request) -> dict[str, Any]:
        executor = self._executor(translating.policy(request.fields["policy"]))
        return {"troubles": executor.restore(translating.restore(request.fields))}

    def _begin(
        self,
        _captured: Captured,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        unit: str,
        fallback_log: Path,
        marker: Path,
        clock: object,
    ) -> ProcessKey:
        """As `start_detached`, by the helper."""
        start = {
            "argv": list(argv),
            "environment": dict(environment),
            "attempt": int(unit.removesuffix(".scope").rpartition("-")[2]),
            "fallback_log": str(fallback_log),
            "marker": str(marker),
        }
        self._channel.send({"start": start})
        answer = self._started.get()
        if "process" not in answer:
            raise LaunchError(answer["trouble"])
        return ProcessKey(**answer["process"])

    # -- answers --------------------------------------------------------------------------------

    def _post(self, event: events.Event) -> bool:
        self._channel.send({"event": translating.event_to_json(event)})
        return True

    def _answer(self, request: protocol.Request, result: Mapping[str, Any]) -> None:
        self._channel.send({"reply": request.id, "result": dict(result)})

    def _refuse(self, request: protocol.Request, error: Exception) -> None:
        self._channel.send({"reply": request.id, "refused": str(error)})


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the helper is the helper's
    sys.exit(main())
