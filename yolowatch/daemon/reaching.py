"""Brings the hook into running processes for the daemon, and out of them again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolowatch.decide.rules import OPT_OUT_NAME
from yolowatch.edges import proc
from yolowatch.edges.attach.entering import Means, attach, detach
from yolowatch.edges.clock import Clock
from yolowatch.edges.names import home_of
from yolowatch.edges.optout import opted_out
from yolowatch.errors import AttachError, YolowatchError
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
        if self._is_opted_out(process.pid):
            return self._ended(request, "it is opted out")
        try:
            met = attach(process.pid, self._means(request.policy))
        except YolowatchError as error:
            return self._ended(request, str(error))
        return self._ended(request, f"the hook is in it ({met.reached.rung.value})")

    def command(self, verb: str, pid: int, policy: AttachPolicy) -> Mapping[str, Any]:
        """`attach` or `detach` as a person asked for it: the body of the answer."""
        try:
            act = attach if verb == "attach" else detach
            met = act(pid, self._means(policy))
        except AttachError as error:
            return {"ok": False, "error": str(error), "exit_code": error.exit_code}
        except YolowatchError as error:
            return {"ok": False, "error": str(error)}
        done = "is in" if verb == "attach" else "is out of"
        return {"ok": True, "sentence": f"the hook {done} process {pid}", "hello": dict(met.hello)}

    def _means(self, policy: AttachPolicy) -> Means:
        return Means(self._environment, self._state_dir, self._socket, policy, clock=self._clock)

    def _is_opted_out(self, pid: int) -> bool:
        """By a file in or above its working directory; where nobody can look it is not touched."""
        uid = proc.owner(pid)
        try:
            place = Path(os.readlink(f"/proc/{pid}/cwd"))
        except OSError:
            return True
        if uid is None:
            return True
        return opted_out(place, OPT_OUT_NAME, uid=uid, home=home_of(uid)) is not False

    def _ended(self, request: Attach, sentence: str) -> AttachEnded:
        process = request.process
        text = f"process {process.pid}: {sentence}"
        return AttachEnded(process, text, self._clock.monotonic())
