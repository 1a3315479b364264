"""Waits until a failed attempt has given a device's memory back, and until the device has the room
that the next one needs; needs nobody's rights.

The driver is asked in a thread of its own, one question at a time: it may hang, and a run must not
wait for it longer than the policy says.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from yolowatch.edges.clock import Clock
from yolowatch.edges.nvml import Nvml
from yolowatch.model.actions import Remediation
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Room
from yolowatch.model.quantity import bytes_text

_POLL_SECONDS = 0.2
_ANSWER_SECONDS = 1.0  # a driver that lives answers in milliseconds
_ROOM_SECONDS = 5.0  # that one look for room may take; the core asks again


def wait_step(
    order: Remediation, nvml: Nvml, clock: Clock, seconds: float
) -> tuple[str, dict[str, Any]]:
    """The step `wait` of a plan: what was found, and how long it took.

    `ready` is False where the device has no room yet: then the step is asked for again, for as long
    as the plan allows. So no thread is held for hours.
    """
    began, room, ready = clock.monotonic(), order.plan.room, True
    found = None if room is None else _look_for_room(room, order.processes, nvml, clock)
    if room is None or (found is None and not room.proof):
        detail = wait_for_memory(order.user.device, order.processes, nvml, clock, seconds)
    else:
        needed = bytes_text(room.free_bytes)
        ready = found is not None and found >= room.free_bytes
        which = "the device"
        if room.beside:
            others = ", ".join(map(str, room.beside))
            which = f"each device of {room.device_index}, {others} (and nobody on {others})"
        detail = f"{bytes_text(found)} of {which} are free, and {needed} are needed"
    return detail, {"seconds": clock.monotonic() - began, "ready": ready}


def _look_for_room(
    room: Room, processes: Sequence[ProcessKey], nvml: Nvml, clock: Clock
) -> int | None:
    """What the device has free, as soon as that is enough and at the latest after a few seconds;
    of several the least. None where it cannot be read, while one of `processes` still holds
    memory, or while anybody is on a device beside.
    """
    pids = {process.pid for process in processes}
    deadline = clock.monotonic() + _ROOM_SECONDS
    question: _Question | None = None
    while True:
        if question is None or question.answered:
            question = _Question(pids, nvml, room)
        free = question.free if question.holding == set() else None
        if (free is not None and free >= room.free_bytes) or clock.monotonic() >= deadline:
            return free
        clock.sleep(_POLL_SECONDS)


def wait_for_memory(
    device: str | None, processes: Sequence[ProcessKey], nvml: Nvml, clock: Clock, seconds: float
) -> str:
    """Until none of `processes` is on the device, for `seconds` at most; what was waited for.

    An unreadable device counts as not yet free.
    """
    if device is None or not device.startswith("cuda"):
        return "nothing to wait for: the memory of a CPU process ends with it"
    if nvml.reason is not None:
        return f"not waited, the processes are gone: {nvml.reason}"
    pids = {process.pid for process in processes}
    deadline = clock.monotonic() + seconds
    question: _Question | None = None
    while True:
        if question is None or question.answered:
            question = _Question(pids, nvml)
        if question.holding is not None and not question.holding:
            return "the device's memory is back"
        if clock.monotonic() >= deadline:
            return "went on: the device's memory was not seen to be back in time"
        clock.sleep(_POLL_SECONDS)


class _Question:
    """Which of these processes hold memory, or of all on the devices beside, and how much each
    device of the room has free at least; None while that is not known.
    """

    def __init__(self, pids: set[int], nvml: Nvml, room: Room | None = None) -> None:
        self.holding: set[int] | None = None
        self.free: int | None = None
        self._room = room
        self._thread = threading.Thread(target=self._ask, args=(pids, nvml), daemon=True)
        self._thread.start()
        self._thread.join(_ANSWER_SECONDS)

    @property
    def answered(self) -> bool:
        return not self._thread.is_alive()

    def _ask(self, pids: set[int], nvml: Nvml) -> None:
        room = self._room
        if room is not None:
            told = {each.index: each.free_bytes for each in nvml.devices()}
            free = [told.get(index) for index in (room.device_index, *room.beside)]
            known = [each for each in free if each is not None]
            self.free = min(known) if len(known) == len(free) else None
        self.holding = _holding(pids, nvml, room.beside if room is not None else ())


def _holding(pids: set[int], nvml: Nvml, idle: tuple[int, ...]) -> set[int] | None:
    """Which of these still hold memory on any device, and who does on those of `idle`; None where
    that cannot be read.
    """
    holding: set[int] = set()
    readings = nvml.devices()
    if not readings:
        return None
    for reading in readings:
        users = nvml.processes(reading.index)
        if users is None:
            return None
        on_it = {user.pid for user in users}
        holding |= on_it if reading.index in idle else on_it & pids
    return holding
