"""The ladder: which way leads into a process, one after the other, until its hook says HELLO.

Success is that HELLO and nothing else: what the ways themselves say is not believed. Whoever climbs
listens where the script tells the hook to report, and knows the hooks that are there already.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from yolowatch.edges.attach import debugger, pending_call, remote_debug, symbols
from yolowatch.edges.attach.memory import Memory
from yolowatch.edges.attach.ptrace import Died, NotStopped
from yolowatch.edges.attach.target import Target, examine, refusal, sees, state
from yolowatch.edges.clock import Clock
from yolowatch.errors import NoWayError, PendingAttach, ProcessMissingError, RemoteDebugError
from yolowatch.model.attach import HELLO_SECONDS, AttachPolicy, Rung

Answered = Callable[[float], bool]
"""Waits up to so many seconds for what the target is to say; whether it has said it."""


@dataclass(frozen=True)
class Reached:
    """The hook answered: the way, how long it took, and how long the target stood still for it."""

    rung: Rung
    latency_seconds: float = 0.0
    pause_seconds: float | None = None


@dataclass(frozen=True)
class Climb:
    """What one climb needs; `seconds` is how long the answer is waited for."""

    script: Path
    answered: Answered
    clock: Clock
    policy: AttachPolicy = AttachPolicy.SAFE
    seconds: float = HELLO_SECONDS


def reach(pid: int, climb: Climb) -> Reached:
    """Let `pid` run the script and wait for its answer; raises an AttachError, one for each cause.

    PendingAttach is no failure: the script is in the process, which will run it when it can.
    """
    if climb.answered(0.0):
        return Reached(Rung.PRESENT)
    if not climb.policy.permits(Rung.PENDING_CALL):
        raise NoWayError(
            f"Nothing is brought into process {pid}, since the configuration says "
            f"attach: {climb.policy.value}; it can be observed from outside only."
        )
    target = examine(pid)
    if not sees(pid, climb.script):
        raise NoWayError(
            f"Process {pid} lives in a container that does not see {climb.script.parent}: mount "
            "it there at the same path, or `yolowatch hook install` inside."
        )
    began = climb.clock.monotonic()
    try:
        rung, placed = _step(target, climb)
    except OSError as error:
        raise _refused(pid, error) from error
    pause = None if placed is None else placed.pause_seconds
    if climb.answered(climb.seconds):
        latency = climb.clock.monotonic() - began
        _tidy(target, placed)
        return Reached(rung, latency, pause)
    _look_after(target, placed, climb)
    raise PendingAttach(f"Process {pid} {_occupation(pid)} ({rung.value} waits there until then).")


def _step(target: Target, climb: Climb) -> tuple[Rung, pending_call.Placed | None]:
    """The first way that is open; raises an AttachError or OSError."""
    if remote_debug.is_offered(target.interpreter.version):
        try:
            with Memory(target.pid) as memory:
                runtime = target.interpreter.addresses[symbols.RUNTIME]
                remote_debug.run_script(memory, runtime, os.fspath(climb.script))
            return Rung.REMOTE_DEBUG, None
        except remote_debug.Disabled:
            raise RemoteDebugError(
                f"Process {target.pid} was started with -X disable-remote-debug (or "
                "PYTHON_DISABLE_REMOTE_DEBUG): its owner wants nobody in it; start it without."
            ) from None
        except remote_debug.Unknown:
            pass  # a build of its own: its public functions are there all the same
    obstacle = "its machine is another"
    if pending_call.is_offered(target.interpreter.machine):
        try:
            return Rung.PENDING_CALL, pending_call.place(target, climb.script, climb.clock)
        except pending_call.Refused as error:
            obstacle = str(error)
    if climb.policy.permits(Rung.DEBUGGER) and debugger.is_offered():
        debugger.run_text(target.pid, pending_call.text_for(climb.script))
        return Rung.DEBUGGER, None
    raise NoWayError(
        f"No way leads into process {target.pid}: {obstacle}. With gdb installed, "
        "`--attach debugger` tries that; it pauses the training for up to a second."
    )


def _look_after(target: Target, placed: pending_call.Placed | None, climb: Climb) -> None:
    if placed is None:
        return
    try:
        pending_call.look_after(target, placed, climb.clock)
    except pending_call.Refused as error:
        raise NoWayError(f"Process {target.pid} took no call: {error}.") from None
    except OSError as error:
        raise _refused(target.pid, error) from error


def _tidy(target: Target, placed: pending_call.Placed | None) -> None:
    if placed is not None:
        try:
            pending_call.tidy(target, placed)
        except OSError:
            pass  # it has ended since


def _refused(pid: int, error: OSError) -> Exception:
    if isinstance(error, NotStopped):
        return NoWayError(
            f"Process {pid} waits where nothing interrupts it (a disk or a network file system?): "
            "nothing was changed; try again later."
        )
    if isinstance(error, Died):
        return ProcessMissingError(f"Process {pid} has ended.")
    return refusal(pid, error)


def _occupation(pid: int) -> str:
    """What keeps the main thread from running Python, for people."""
    now = state(pid)
    if now == "T":
        return "is stopped: what was asked for happens when it is continued, with `kill -CONT`"
    if now in ("S", "D"):
        return "sleeps outside of Python: what was asked for happens when it wakes"
    return "computes outside of Python: what was asked for happens when it returns there"
