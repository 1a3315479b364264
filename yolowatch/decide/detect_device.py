"""Why a device had too little memory: the cause, which decides what fits.

A smaller batch is one answer of many, and for most of these causes the wrong one: a neighbour's
memory, a process that is not gone yet and a failure with memory free are none of this run's doing.
What is not known names no cause: then it is the plain failure that its text says.
"""

from __future__ import annotations

from dataclasses import dataclass

from yolowatch.decide.texts import Figures, Form
from yolowatch.decide.texts_processes import listed
from yolowatch.model.device import DeviceUser
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import LastWords, Memory, RunState
from yolowatch.model.surroundings import Around
from yolowatch.model.thresholds import Thresholds
from yolowatch.model.verdict import Kind

_IN_PIECES = 0.05  # of the capacity held in pieces, from which on it is worth a restart
_MIB = 1 << 20
_LESS = 0.02  # of the capacity: what another reading of the same device may differ by
_FIRST_STEPS = 1  # training batches within which a resumed run has only just begun
_MOST_NAMED = 4


@dataclass(frozen=True)
class DeviceCause:
    """A cause with what is said of it; `neighbours` are to blame only where it is theirs."""

    kind: Kind
    sentence: str
    neighbours: tuple[DeviceUser, ...] = ()


def device_cause(
    state: RunState,
    words: LastWords,
    form: Form,
    figures: Figures,
    around: Around,
    thresholds: Thresholds,
) -> DeviceCause | None:
    """The cause beside the run's own size, or None where nothing shows that there is one."""
    return (
        _not_back(state, words, figures, around)
        or _memory_free(figures, thresholds)
        or _in_pieces(state, words, form, figures)
        or _neighbour(words, figures, around, thresholds)
    )


def is_tight(memory: Memory, headroom: float) -> bool:
    """Whether nearly all of the capacity was in use; False where that is not known."""
    marks = (memory.allocated_bytes, memory.reserved_bytes, memory.peak_bytes)
    used = max((each for each in marks if each is not None), default=None)
    capacity = memory.capacity_bytes
    return capacity is not None and used is not None and used >= (1.0 - headroom) * capacity


def named(users: tuple[DeviceUser, ...]) -> str:
    """`process 7 of alice with 6.7 GiB`, one after the other."""
    found = [_named(each) for each in users[:_MOST_NAMED]]
    if len(users) > _MOST_NAMED:
        found.append(f"{len(users) - _MOST_NAMED} more")
    return ", ".join(found)


def _named(user: DeviceUser) -> str:
    whose = user.user or (None if user.uid is None else f"uid {user.uid}")
    of = "" if whose is None else f" of {whose}"
    return f"process {user.pid}{of} with {bytes_text(user.used_bytes)}"


def _not_back(
    state: RunState, words: LastWords, figures: Figures, around: Around
) -> DeviceCause | None:
    """The first step after a resume, while the memory of the attempt before is not back."""
    step = words.place.step
    if state.attempt == 0 or around.waited or step is None or step > _FIRST_STEPS:
        return None
    if around.leftovers:
        held = named(around.leftovers)
        return DeviceCause(Kind.NOT_BACK, f"The memory of the attempt before is not back: {held}.")
    before = around.earlier_capacity_bytes
    now = figures.capacity if figures.capacity is not None else words.memory.capacity_bytes
    strangers = _strangers(words, figures, around)
    if before is None or now is None or strangers is None or strangers:
        return None  # whose it is, is not known, or it is somebody else's
    if now >= before * (1.0 - _LESS):
        return None
    return DeviceCause(
        Kind.NOT_BACK,
        f"Right after the resume only {bytes_text(now)} could be had of {bytes_text(before)}, and "
        "nobody else uses the device: the memory of the attempt before is not back.",
    )


def _memory_free(figures: Figures, thresholds: Thresholds) -> DeviceCause | None:
    """More than was asked for was free, and no limit of this process's own was in the way."""
    free, requested = figures.free, figures.requested
    if free is None or requested is None:
        return None
    if figures.allowed is not None and figures.allocated is not None:
        held = figures.allocated + (figures.reserved_unallocated or 0)
        free = min(free, figures.allowed - held)
    if free < requested + thresholds.free_memory_mib * _MIB:
        return None
    return DeviceCause(
        Kind.FREE_MEMORY,
        f"{bytes_text(requested)} could not be had although {bytes_text(free)} of the device were "
        "free: look for a limit of the host's memory or address space, MIG or MPS. A smaller "
        "batch is no answer.",
    )


def _in_pieces(
    state: RunState, words: LastWords, form: Form, figures: Figures
) -> DeviceCause | None:
    """What the allocator held in pieces would have been enough in one piece."""
    settings = state.spec.allocator if state.spec is not None else None
    requested = figures.requested if figures.requested is not None else words.requested_bytes
    held = figures.reserved_unallocated
    capacity = figures.capacity if figures.capacity is not None else words.memory.capacity_bytes
    if form.disguised or "expandable_segments" in (settings or ""):
        return None
    if held is None or requested is None or capacity is None:
        return None
    if held < requested or held < _IN_PIECES * capacity:
        return None
    return DeviceCause(
        Kind.FRAGMENTATION,
        f"{bytes_text(held)} were held in pieces when {bytes_text(requested)} were asked for: the "
        "memory was there, but not in one piece.",
    )


def _neighbour(
    words: LastWords, figures: Figures, around: Around, thresholds: Thresholds
) -> DeviceCause | None:
    """Somebody else has so much that without it the request would have been met."""
    strangers = _strangers(words, figures, around)
    total = figures.total
    if total is None and around.device is not None:
        total = around.device.total_bytes
    if not strangers or total is None:
        return None
    theirs = sum(each.used_bytes or 0 for each in strangers)
    if theirs < thresholds.neighbour_part * total:
        return None
    free = figures.free if figures.free is not None else words.device_free_bytes
    if figures.requested is not None and (free or 0) + theirs < figures.requested:
        return None  # it would not have fitted without them either
    return DeviceCause(
        Kind.NEIGHBOUR,
        f"Others use {bytes_text(theirs)} of the device's {bytes_text(total)}: {named(strangers)}. "
        "This run is not made smaller for that.",
        strangers,
    )


def _strangers(words: LastWords, figures: Figures, around: Around) -> tuple[DeviceUser, ...] | None:
    """Who else was on the device, by the text and the driver; None where neither tells."""
    mine = {each.pid for each in (*around.processes, *around.earlier)}
    known = {each.pid: each for each in around.others or ()}
    reserved = words.memory.reserved_bytes
    if reserved is None and figures.allocated is not None:
        reserved = figures.allocated + (figures.reserved_unallocated or 0)
    said = listed(words.text, reserved).others
    if said is None:
        found = None if around.others is None else tuple(known.values())
    else:
        # The text is of the very moment; whose a process is, only the driver's list says.
        found = tuple(_with_owner(each, known.get(each.pid)) for each in said)
    if found is None:
        return None
    rest = (each for each in found if each.pid not in mine)
    return tuple(sorted(rest, key=lambda each: -(each.used_bytes or 0)))


def _with_owner(said: DeviceUser, known: DeviceUser | None) -> DeviceUser:
    if known is None:
        return said
    used = said.used_bytes if said.used_bytes is not None else known.used_bytes
    return DeviceUser(said.pid, used, known.uid, known.user, known.process)
