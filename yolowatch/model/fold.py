"""How a hook's message changes what is known of a run.

The only way by which a message reaches the state. It trusts nothing beyond what `hook.wire` already
checked, and never turns an unknown value into zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from yolowatch.model.run import (
    Ack,
    EmergencySave,
    Footprint,
    LastWords,
    Memory,
    Place,
    Rank,
    Released,
    Rescue,
    Retry,
    RunSpec,
    RunState,
    Sample,
    SavedCheckpoint,
)

Fields = Mapping[str, Any]
"""The fields of one decoded message: types and bounds are those of `hook.wire`."""

MAX_FOOTPRINTS = 512
FIRST_FOOTPRINTS = 128  # of these, kept for good
MAX_SAMPLES = 120  # two minutes
MAX_ACKS = 16

_PLACE_FIELDS = tuple(f.name for f in fields(Place))
_MEMORY_FIELDS = tuple(f.name for f in fields(Memory))
_SPEC_FIELDS = tuple(f.name for f in fields(RunSpec))
_WINDOW_FIELDS = ("seconds", "steps", "allocated_min_bytes", "allocated_max_bytes")


def _place(message: Fields) -> Place:
    return Place(*map(message.get, _PLACE_FIELDS))


def _memory(message: Fields) -> Memory:
    return Memory(*map(message.get, _MEMORY_FIELDS))


def fold(state: RunState, kind: str, message: Fields, at: float, count: int = 1) -> RunState:
    """The state after one more message of a hook, received at `at` (the daemon's clock), or after
    one made of `count`.
    """
    if kind == "sample":  # first: nearly all messages are samples
        return _fold_sample(state, message, at, count)
    state = _evolved(state, messages=state.messages + count)
    if kind == "hello":
        return replace(
            state,
            connected=state.connected + 1,
            python=message.get("python", state.python),
            torch=message.get("torch", state.torch),
            hook=message.get("hook", state.hook),
            rank=_rank(message),
        )
    if kind == "run":
        if "trainer" not in message:
            return state
        known = {name: message[name] for name in _SPEC_FIELDS if name in message}
        return replace(state, spec=RunSpec(**known))
    if kind == "footprints":
        return _fold_footprints(state, message)
    if kind == "epoch_end":
        return replace(state, last_epoch_ended=message.get("epoch", state.last_epoch_ended))
    if kind == "checkpoint":
        if "path" not in message or "epoch" not in message:
            return state
        saved = SavedCheckpoint(at, message["path"], message["epoch"], message.get("step"))
        told = state.checkpoint
        if told is not None and replace(saved, at=told.at) == told:
            return state  # told once more, to a new connection
        return replace(state, checkpoint=saved)
    if kind == "emergency":
        if "epoch" not in message:
            return state
        lists = (tuple(message.get(name, ())) for name in ("losses", "loss_names", "rates"))
        rescued = EmergencySave(
            at, message["epoch"], message.get("complete", False), message.get("step"), *lists
        )
        return replace(state, emergency=rescued)
    if kind == "retry":
        retry = Retry(at, _place(message), message.get("batch_before"), message.get("text", ""))
        return replace(state, retries=(*state.retries, retry)[-16:])
    if kind == "ack":
        if "id" not in message:
            return state
        ack = Ack(message["id"], message.get("accepted", False), message.get("reason"))
        return replace(state, acks=(*state.acks, ack)[-MAX_ACKS:])
    if kind == "rescue":
        return _rescued(state, message, at)
    if kind == "released":
        return replace(state, released=_released(state.released, message))
    if kind == "left":
        return replace(state, left=message.get("epoch", state.left))
    if kind == "last_words":
        return replace(state, last_words=_last_words(message, at))
    if kind == "fault":
        return replace(
            state,
            faults=max(state.faults, message.get("count", 1)),
            fault_text=f"{message.get('where', '?')}: {message.get('text', '?')}",
        )
    if kind == "bye":
        return replace(state, finished=bool(message.get("finished", False)))
    return state


def _rank(message: Fields) -> Rank | None:
    number, ranks = message.get("rank", -1), message.get("world_size", 0)
    if number < 0 or ranks < 1:
        return None
    return Rank(number, ranks, message.get("local_world_size"), message.get("max_restarts"))


def _fold_sample(state: RunState, message: Fields, at: float, count: int) -> RunState:
    place, memory = _place(message), _memory(message)
    sample = Sample(at, place, memory, *map(message.get, _WINDOW_FIELDS))
    return _evolved(
        state,
        messages=state.messages + count,
        place=place,
        memory=memory,
        dropped=max(state.dropped, message.get("dropped", 0)),
        faults=max(state.faults, message.get("faults", 0)),
        samples=(*state.samples[1 - MAX_SAMPLES :], sample),
    )


def _evolved(state: RunState, **changes: Any) -> RunState:
    """`dataclasses.replace`, which sets every field anew, at a tenth of the time: near danger this
    happens once a second for each training.
    """
    fresh = object.__new__(RunState)
    fresh.__dict__.update(state.__dict__, **changes)
    return fresh


def _fold_footprints(state: RunState, message: Fields) -> RunState:
    new = []
    for item in message.get("items", ()):
        phase, batch, height, width, boxes, base, peak, exact, epoch = item
        if None not in (phase, batch, height, width, peak):
            shape = (phase, batch, height, width, boxes)
            new.append(Footprint(*shape, base, peak, bool(exact), epoch))
    # The first ones stay: on the CPU only they tell what one batch adds to what was in use.
    kept = (*state.footprints, *new)
    if len(kept) > MAX_FOOTPRINTS:
        kept = kept[:FIRST_FOOTPRINTS] + kept[FIRST_FOOTPRINTS - MAX_FOOTPRINTS :]
    return replace(state, footprints=kept)


def _released(before: Released, message: Fields) -> Released:
    told = [each for each in (before.most_bytes, message.get("bytes")) if each is not None]
    seconds = before.seconds + message.get("seconds", 0.0)
    return Released(before.times + 1, seconds, max(told, default=None))


def _rescued(state: RunState, message: Fields, at: float) -> RunState:
    rescue = Rescue(
        at,
        message.get("what", ""),
        _place(message),
        _memory(message),
        message.get("exception", ""),
        message.get("text", ""),
        message.get("before"),
        message.get("after"),
        message.get("blocks"),
    )
    spec = state.spec
    if spec is not None and rescue.what == "validation" and rescue.after is not None:
        spec = replace(spec, validation_batch=rescue.after)
    return replace(state, spec=spec, rescues=(*state.rescues, rescue)[-16:])


def _last_words(message: Fields, at: float) -> LastWords:
    return LastWords(
        at=at,
        exception=message.get("exception", ""),
        text=message.get("text", ""),
        place=_place(message),
        memory=_memory(message),
        frames=tuple(message.get("frames", ())),
        requested_bytes=message.get("requested_bytes"),
        device_free_bytes=message.get("device_free_bytes"),
        train_calls=message.get("train_calls"),
        handled=bool(message.get("handled", False)),
    )
