"""What a checkpoint says about itself, read without unpickling it.

A checkpoint is a pickle, and loading a pickle runs what its author wrote into it. Here its opcodes
are only followed by a small stack machine whose objects are placeholders: nothing that the pickle
names is imported, called or built. That is enough for the two facts that decide whether a run can
be resumed, which are plain values of the outermost dictionary.

The caller takes the pickle out of the zip archive (`*/data.pkl`); its CRC vouches for the rest.
"""

from __future__ import annotations

import pickletools
import struct
from dataclasses import dataclass, field
from typing import Any, Final

MAX_BYTES = 64 << 20
MAX_OPCODES = 4_000_000  # a large model with its optimizer has about 200,000
MAX_KEYS = 256


class CheckpointUnreadable(ValueError):
    """The bytes are no pickle of a dictionary; the text says in a few words why."""


@dataclass(frozen=True)
class CheckpointFacts:
    """`optimizer` is whether there is a state: False where it is None, None where there is no key.

    `epoch` counts from 0 and is −1 in a finished checkpoint; None is unknown. `keys` are those of
    the outermost dictionary that are strings, as the training wrote them.
    """

    epoch: int | None
    optimizer: bool | None
    keys: tuple[str, ...]


def resumable(facts: CheckpointFacts) -> str | None:
    """Why a training cannot be resumed from it, as the end of a sentence, or None if it can.

    Finished is not dead: Ultralytics, told to resume a stripped checkpoint, starts a new training
    on its example data instead (ultralytics/engine/model.py, `Model.train`, 8.4.190).
    """
    if facts.epoch is None:
        return "it does not say which epoch it is of"
    if facts.epoch < 0:
        return "it is of a finished training"
    if not facts.optimizer:
        return "it has no optimizer state, as of a finished training"
    return None


class _Opaque:
    """Anything whose value does not matter."""


_OPAQUE: Final = _Opaque()
_MARK: Final = object()


@dataclass(eq=False)
class _Dict:
    items: dict[str, Any] = field(default_factory=dict)

    def set(self, key: Any, value: Any) -> None:
        if type(key) is str and (key in self.items or len(self.items) < MAX_KEYS):
            self.items[key] = value


_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "STRING", "BINSTRING", "SHORT_BINSTRING",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}


class _Machine:
    """Follows the opcodes; what it does not know moves the stack as `pickletools` documents."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, opcode: pickletools.OpcodeInfo, arg: Any) -> None:
        name, stack = opcode.name, self.stack
        if name in _VALUES:
            stack.append(arg)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "EMPTY_DICT":
            stack.append(_Dict())
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _GETS:
            stack.append(self.memo[arg])
        elif name in _PUTS:
            self.memo[arg] = self._top()
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self._top()
        elif name == "DUP":
            stack.append(self._top())
        elif name == "DICT":
            made = _Dict()
            _fill(made, self._pop_to_mark())
            stack.append(made)
        elif name == "SETITEMS":
            pairs = self._pop_to_mark()
            _fill(self._top(), pairs)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _fill(self._top(), [key, value])
        elif name == "BUILD":
            stack.pop()
            self._top()
        else:
            self._move(opcode)

    def _move(self, opcode: pickletools.OpcodeInfo) -> None:
        for each in reversed(opcode.stack_before):
            if each is pickletools.stackslice:
                continue  # what is above the mark goes with the mark
            if each is pickletools.markobject:
                self._pop_to_mark()
            elif self.stack.pop() is _MARK and opcode.name != "POP":
                raise IndexError("a mark where a value belongs")
        self.stack.extend(_OPAQUE for _ in opcode.stack_after)

    def _top(self) -> Any:
        if self.stack[-1] is _MARK:
            raise IndexError("a mark where a value belongs")
        return self.stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        values.reverse()
        return values


def _fill(target: Any, pairs: list[Any]) -> None:
    if len(pairs) % 2:
        raise IndexError("a key without a value")
    if isinstance(target, _Dict):
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target.set(key, value)


def read_facts(pickle_bytes: bytes) -> CheckpointFacts:
    """The facts in the pickle of a checkpoint; raises CheckpointUnreadable, and nothing else."""
    if len(pickle_bytes) > MAX_BYTES:
        raise CheckpointUnreadable(f"its pickle has more than {MAX_BYTES >> 20} MiB")
    machine = _Machine()
    try:
        for count, (opcode, arg, _position) in enumerate(pickletools.genops(pickle_bytes)):
            if count >= MAX_OPCODES:
                raise CheckpointUnreadable("its pickle has too many steps")
            if opcode.name == "STOP":
                break
            machine.run(opcode, arg)
        top = machine.stack.pop()
    except CheckpointUnreadable:
        raise
    except (ValueError, KeyError, IndexError, OverflowError, struct.error) as error:
        raise CheckpointUnreadable(f"it is no pickle ({type(error).__name__})") from None
    if not isinstance(top, _Dict):
        raise CheckpointUnreadable("it is no dictionary")
    epoch = top.items.get("epoch")
    return CheckpointFacts(
        epoch=epoch if type(epoch) is int else None,
        optimizer=top.items["optimizer"] is not None if "optimizer" in top.items else None,
        keys=tuple(top.items),
    )
