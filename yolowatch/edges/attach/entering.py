"""Brings the hook into a process that runs already, and out of it again.

Neither needs a daemon: the hook reports to a socket of this very call, and goes on to look for the
service afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolowatch.edges import stage, statedir
from yolowatch.edges.attach import arrival
from yolowatch.edges.attach.greeting import Greeting
from yolowatch.edges.attach.ladder import Climb, Reached, reach
from yolowatch.edges.attach.target import examine
from yolowatch.edges.clock import Clock, SystemClock
from yolowatch.errors import HookStaysError, NoWayError, StateError
from yolowatch.model.attach import HELLO_SECONDS, AttachPolicy

HOOK_SOCKET = "hook.sock"
_RUN_SECONDS = 5.0


@dataclass(frozen=True)
class Met:
    """A hook that answered; `hello` and `run` are what it said, the latter empty if nothing yet.

    `stays_with` is the socket of another daemon that it serves and goes on to serve.
    """

    reached: Reached
    hello: Mapping[str, Any]
    run: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stays_with(self) -> str | None:
        return self.hello.get("stays_with")


@dataclass(frozen=True)
class Means:
    """What entering a process takes; `state_dir` None is the user's own.

    `socket` is the daemon's that the hook is to look for, None the service's of this user.
    """

    environment: Mapping[str, str]
    state_dir: Path | None = None
    socket: Path | None = None
    policy: AttachPolicy = AttachPolicy.SAFE
    seconds: float = HELLO_SECONDS
    run_seconds: float = _RUN_SECONDS
    attempt: int = 0
    emergency: str | None = None
    clock: Clock = field(default_factory=SystemClock)


def attach(pid: int, means: Means) -> Met:
    """Bring the hook into `pid`; raises an AttachError, PendingAttach where it is yet to come."""
    socket = means.socket or statedir.service_socket_directory(means.environment) / HOOK_SOCKET
    order = {
        "do": "attach",
        "socket": str(socket),
        "attempt": str(means.attempt),
        "emergency": means.emergency,
    }

    def meet(greeting: Greeting, reached: Reached) -> Met:
        # What it trains is told at its next event, and a refusal right after the HELLO.
        greeting.hears_any(("run", "ack"), means.run_seconds)
        answer = greeting.said("ack")
        if answer.get("accepted") is False:
            raise NoWayError(f"Process {pid} keeps no hook: {answer.get('reason')}.")
        return Met(reached, greeting.said("hello"), greeting.said("run"))

    return _ask(pid, means, order, "hello", meet)


def detach(pid: int, means: Means) -> Met:
    """Take the hook out of `pid`; raises an AttachError, PendingAttach where it is yet to go."""

    def part(greeting: Greeting, reached: Reached) -> Met:
        answer = greeting.said("ack")
        if answer.get("accepted") is not True:
            raise HookStaysError(f"Nothing was taken out of process {pid}: {answer.get('reason')}.")
        return Met(reached, greeting.said("hello"), answer)

    return _ask(pid, means, {"do": "detach"}, "ack", part)


def _ask(
    pid: int,
    means: Means,
    order: Mapping[str, str | None],
    answer: str,
    then: Callable[[Greeting, Reached], Met],
) -> Met:
    """Let the hook of `pid` carry out the order, and wait for its answer."""
    uid = examine(pid).uid
    shared = uid != os.geteuid()
    base = _shared_directory() if shared else _own_directory(means)
    staged = stage.stage(base, shared=shared)
    with Greeting(pid, uid, means.environment, means.clock) as greeting:
        told = {**order, "greet": str(greeting.path), "stage": str(staged.path)}
        script = arrival.write(base, told, shared)
        try:
            climb = Climb(
                script,
                lambda seconds: greeting.hears(answer, seconds),
                means.clock,
                means.policy,
                means.seconds,
            )
            return then(greeting, reach(pid, climb))
        finally:
            if greeting.hears(answer, 0.0):
                arrival.remove(script)


def _own_directory(means: Means) -> Path:
    return statedir.state_directory(means.state_dir, means.environment)


def _shared_directory() -> Path:
    """Where another user's process can read what root has staged; raises StateError."""
    path = statedir.SYSTEM_SOCKETS
    try:
        path.mkdir(mode=0o755, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise StateError(
            f"{path} cannot be made ({error.strerror}): run this as root, on a machine with /run."
        ) from error
    if status.st_uid != 0 or status.st_mode & 0o022:
        raise StateError(f"{path} must be root's and not writable by others: see who made it.")
    return path
