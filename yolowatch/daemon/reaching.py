"""Brings the hook into running processes for the daemon, and out of them again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolowatch.decide.rules import OPT_OUT_NAME
from yolowatch.edges import proc
from yolowatch.edges.attach.entering import Means, attach, detach
from yolowatch.edges.clock import Clock
from yolowatch.edges.names import home_of
from yolowatch.edges.optout import process_opted_out
from yolowatch.errors import PendingAttach, YolowatchError
from yolowatch.model.actions import Attach
from yolowatch.model.attach import AttachPolicy
from yolowatch.model.events import AttachEnded


class Reacher:
    """Its methods take seconds, and are called in threads of their own."""

    def __init__(
        self, environment: Mapping[str, str], state_dir: Path, socket: Path, clock: Clock
    ) -> None:
        self._environment, self._state_dir = environment, state_dir
        self._socket, self._clock = socket, clock

    def attach(self, request: Attach) -> AttachEnded:
        """Answer with what came of it; a process that is gone or opted out is left alone."""
        process = request.process
        if proc.process_key(process.pid) != process:
            return self._ended(request, "it has ended")
        if self._opted_out(process.pid) is not False:
            return self._ended(request, "it is opted out")
        try:
            met = attach(process.pid, self._means(request.policy))
        except YolowatchError as error:
            return self._ended(request, str(error))
        return self._ended(request, f"the hook is in it ({met.reached.rung.value})")

    def command(self, verb: str, pid: int, policy: AttachPolicy) -> Mapping[str, Any]:
        """`attach` or `detach` as a person asked for it: the body of the answer."""
        if verb == "attach" and self._opted_out(pid):
            why = f"{OPT_OUT_NAME} lies in its working directory or in one above"
            return {"ok": False, "error": f"Process {pid} is opted out: {why}."}
        try:
            act = attach if verb == "attach" else detach
            met = act(pid, self._means(policy))
        except PendingAttach as error:
            return {"ok": True, "pending": True, "said": str(error)}
        except YolowatchError as error:
            return {"ok": False, "error": str(error), "exit_code": error.exit_code}
        done = "is in" if verb == "attach" else "is out of"
        return {"ok": True, "said": f"the hook {done} process {pid}", "hello": dict(met.hello)}

    def _means(self, policy: AttachPolicy) -> Means:
        return Means(self._environment, self._state_dir, self._socket, policy, clock=self._clock)

    def _opted_out(self, pid: int) -> bool | None:
        """By a file in or above its working directory; None where nobody can look."""
        uid = proc.owner(pid)
        if uid is None:
            return None
        return process_opted_out(pid, OPT_OUT_NAME, uid=uid, home=home_of(uid))

    def _ended(self, request: Attach, sentence: str) -> AttachEnded:
        process = request.process
        text = f"process {process.pid}: {sentence}"
        return AttachEnded(process, text, self._clock.monotonic())
