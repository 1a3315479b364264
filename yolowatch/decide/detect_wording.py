"""Where a failure struck, the sentence for a person and the facts beneath it.

It judges nothing: `detect` and `detect_device` say what it was.
"""

from __future__ import annotations

import re

from yolowatch.decide.texts import Figures, Form, Source
from yolowatch.model.printable import printable
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import LastWords, Place, RunState
from yolowatch.model.verdict import Where

_STEP_PHASES = ("forward", "loss", "backward")
_SIMPLE = {"setup": Where.SETUP, "validation": Where.VALIDATION, "save": Where.SAVE}
# Where labelled boxes are assigned to predictions: what it takes grows with the densest image.
_ASSIGNER = re.compile(r"(?:tal|assigner)\.py:\d+ ")


def where(state: RunState, place: Place) -> Where:
    """In which part of the training it struck, which was here."""
    spec = state.spec
    phase = place.phase or ""
    if phase in _SIMPLE:
        return _SIMPLE[phase]
    if phase == "optimizer":
        first = _first_optimizer_step(state, place)
        return Where.FIRST_OPTIMIZER_STEP if first else Where.OPTIMIZER
    if phase not in _STEP_PHASES:
        return Where.UNKNOWN
    if spec is None or spec.image_size is None or spec.image_size_max is None:
        return Where.STEP
    side = max(place.height or 0, place.width or 0)
    if side > spec.image_size and spec.image_size_max > spec.image_size:
        return Where.MULTI_SCALE_PEAK
    return Where.STEP


def _first_optimizer_step(state: RunState, place: Place) -> bool:
    if any(each.phase == "optimizer" for each in state.footprints):
        return False
    exists = state.spec.optimizer_state_exists if state.spec is not None else None
    if exists is not None:
        return not exists
    step, accumulate = place.step, place.accumulate
    return step is not None and accumulate is not None and step < accumulate


def sentence(words: LastWords, form: Form, figures: Figures, capacity: int | None) -> str:
    """What ran out of memory, in doing what, and how much was in use."""
    place = words.place
    match = form.pattern.match(words.text)
    device = (match.groupdict().get("device") if match else None) or "CUDA"
    parts = [f"{device.upper() if form.source is Source.DEVICE else 'CPU'} out of memory"]
    if place.phase:
        parts.append(f"in {'the optimizer step' if place.phase == 'optimizer' else place.phase}")
    if place.height and place.width:
        parts.append(f"at {max(place.height, place.width)} px")
    if place.batch:
        parts.append(f"with batch {place.batch}")
    if place.epoch is not None:
        parts.append(f"(epoch {place.epoch + 1})")
    said = " ".join(parts)
    used = figures.allocated if figures.allocated is not None else words.memory.allocated_bytes
    if used is not None:
        said += f": {bytes_text(used)} in use"
        if capacity is not None:
            said += f" of {bytes_text(capacity)}"
    return said + "."


def evidence(
    state: RunState, words: LastWords, figures: Figures, capacity: int | None
) -> tuple[str, ...]:
    """Short facts, each measured or quoted."""
    place, memory = words.place, words.memory
    facts = list(quoted(words))
    if place.phase:
        facts.append(f"phase {place.phase}")
    if place.batch and place.height and place.width:
        facts.append(f"batch {place.batch} at {place.width} x {place.height} px")
    if place.boxes:
        facts.append(f"{place.boxes} labelled boxes in the batch")
    if any(_ASSIGNER.search(frame) for frame in words.frames):
        facts.append("it failed where boxes are assigned, which grows with the densest image")
    requested = figures.requested if figures.requested is not None else words.requested_bytes
    allocated = figures.allocated if figures.allocated is not None else memory.allocated_bytes
    figure_of = {
        "requested": requested,
        "allocated": allocated,
        "reserved": memory.reserved_bytes,
        "reserved but unallocated": figures.reserved_unallocated,
        "capacity": capacity,
        "device free": figures.free if figures.free is not None else words.device_free_bytes,
    }
    facts += [f"{name} {bytes_text(n)}" for name, n in figure_of.items() if n is not None]
    if state.retries:
        facts.append(f"the trainer itself had retried {len(state.retries)} times with less")
    return tuple(facts)


def quoted(words: LastWords | None) -> tuple[str, ...]:
    """The exception itself, made printable."""
    if words is None:
        return ()
    name = printable(words.exception, 80)
    text = printable(words.text, 300)
    return (f"{name}: {text}" if text else name,)


def ending(exit_signal: int | None) -> tuple[str, ...]:
    """How the process ended, where a signal ended it."""
    return () if exit_signal is None else (f"ended by signal {exit_signal}",)
