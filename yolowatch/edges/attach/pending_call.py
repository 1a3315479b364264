"""A call of the interpreter's public `Py_AddPendingCall`, made from outside by ptrace.

The main thread stands still while its registers are read, a trampoline is written behind the code
of some library, and its registers are set once. From there on the target needs nobody: it makes the
call, restores itself and goes on, whatever becomes of yolowatch. Then Python runs the text at the
next moment at which it would handle a signal.
"""

from __future__ import annotations

import os
import platform
import secrets
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar

from yolowatch.edges.attach import aarch64, symbols, x86_64
from yolowatch.edges.attach.memory import Memory
from yolowatch.edges.attach.ptrace import Seized, be_quick
from yolowatch.edges.attach.target import Target, state
from yolowatch.edges.clock import Clock

MACHINES: dict[str, ModuleType] = {x86_64.MACHINE: x86_64, aarch64.MACHINE: aarch64}
_OURS = {"x86_64": x86_64.MACHINE, "aarch64": aarch64.MACHINE}
_STOP_SECONDS = 1.0
_ROOM_BYTES = 512  # for the trampoline and its slots; the text stands behind
# Text that Python runs as __main__, where it must leave no name and no exception behind.
_TEXT = (
    "try: exec(compile(__import__('_frozen_importlib_external').FileLoader('', {0!r})"
    ".get_data({0!r}), {0!r}, 'exec'), {{}})\nexcept BaseException: pass\n"
)  # a file of `open` would be left for the collector, with a warning
_DONE, _REFUSED = 1, 2

Result = TypeVar("Result")


class Refused(RuntimeError):
    """The call cannot be made in this process; the text says why. It is as it was."""


@dataclass(frozen=True)
class Placed:
    """What was put into the target, to look after it."""

    call: x86_64.Call
    mark: int
    original: bytes
    size: int
    pause_seconds: float
    stopped: bool  # the whole process was stopped by a signal already


def is_offered(machine: str) -> bool:
    """Whether a process of this machine can be called into from here."""
    return machine == _OURS.get(platform.machine()) and bool(MACHINES[machine].is_able())


def text_for(script: os.PathLike[str]) -> str:
    """What the interpreter is to run, as its `__main__`."""
    return _TEXT.format(os.fspath(script))


def place(target: Target, script: os.PathLike[str], clock: Clock) -> Placed:
    """Let the target run the script; raises Refused or OSError, and then nothing was changed."""
    text = text_for(script).encode() + b"\0"
    size = _ROOM_BYTES + len(text)
    try:
        cave = symbols.find_cave(target.pid, target.maps, size)
    except symbols.NotThere as error:
        raise Refused(str(error)) from None
    machine = MACHINES[target.interpreter.machine]
    add, run = (target.interpreter.addresses[n] for n in (symbols.ADD_CALL, symbols.RUN_TEXT))
    mark = secrets.randbits(62) | 1 << 62

    def set_up() -> Placed:
        with Memory(target.pid) as memory:
            original = memory.read(cave.address, size)
            seized = Seized(target.pid, clock, _STOP_SECONDS)
            with seized:
                arguments = add, run, cave.address + _ROOM_BYTES, mark
                seized.write(memory.descriptor, cave.address + _ROOM_BYTES, text)
                try:
                    call = machine.begin(seized, memory.descriptor, cave.address, *arguments)
                except x86_64.Unsuitable as error:
                    raise Refused(str(error)) from None
        stopped = bool(seized.stopped_by)
        return Placed(call, mark, original, size, seized.pause_seconds, stopped)

    return _in_one_thread(set_up)


def look_after(target: Target, placed: Placed, clock: Clock) -> bool:
    """The text was not run for a while: whether it waits. A call that hangs is taken back.

    It would hang where the main thread stood still inside the very lock that the call takes.
    Raises Refused where the interpreter takes no more calls, or the hanging one was taken back.
    """
    with Memory(target.pid) as memory:
        found = memory.word(placed.call.mark_address) - placed.mark
        if found == _REFUSED:
            raise Refused("its queue of pending calls is full")
        if found != 0 or state(target.pid) in ("T", "t", "D"):
            return True  # done, or what stands there now is another function's
    _in_one_thread(lambda: _take_back(target, placed, clock))
    raise Refused("its main thread was about to take the lock of the pending calls: try again")


def tidy(target: Target, placed: Placed) -> None:
    """The text was run: what was overwritten gets its bytes back."""
    with Memory(target.pid) as memory:
        memory.write(placed.call.code, placed.original)


def _take_back(target: Target, placed: Placed, clock: Clock) -> None:
    with Memory(target.pid) as memory, Seized(target.pid, clock, _STOP_SECONDS) as seized:
        if memory.read(placed.call.mark_address, 8) == struct.pack("<Q", placed.mark):
            machine = MACHINES[target.interpreter.machine]
            machine.abandon(seized, memory.descriptor, placed.call, placed.mark)


def _in_one_thread(function: Callable[[], Result]) -> Result:
    """Its result, from a thread whose end lets go of whatever it may have seized."""
    results: list[Result] = []
    errors: list[OSError | Refused] = []

    def run() -> None:
        be_quick()
        try:
            results.append(function())
        except (OSError, Refused) as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="ptrace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
