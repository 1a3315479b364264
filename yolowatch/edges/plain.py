"""Frozen model types to JSON text and back, for what the journal keeps whole.

Driven by the types' own annotations, so that a field added to the model needs no line here. A
field that the text lacks takes its default, one that the type does not know is left out: a journal
outlives the version that wrote it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")


def to_json(value: Any) -> str:
    """JSON text of dataclasses, enums, tuples, mappings and plain values."""
    return json.dumps(value, separators=(",", ":"), default=_plain)


def from_json(kind: type[T], text: str) -> T:
    """The value of dataclass `kind` that `to_json` wrote; raises ValueError where it is none."""
    try:
        value = _read(kind, json.loads(text))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no {kind.__name__}: {error}") from error
    if not isinstance(value, kind):
        raise ValueError(f"no {kind.__name__}")
    return value


def _plain(value: Any) -> Any:
    """What the encoder of json, which is written in C, cannot take, one layer of it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: getattr(value, name) for name in _names(type(value))}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): each for name, each in value.items()}
    raise TypeError(f"no plain value: {type(value).__name__}")


@functools.cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(each.name for each in dataclasses.fields(kind))


@functools.cache
def _hints(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    """Name and type of each field; to read the annotations takes longer than to use them."""
    found = typing.get_type_hints(kind)
    return tuple((each.name, found[each.name]) for each in dataclasses.fields(kind))


def _read(kind: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        (kind,) = (each for each in arguments if each is not type(None))
        return _read(kind, value)
    if origin is tuple:  # only tuple[X, ...]: the model has no other
        return tuple(_read(arguments[0], each) for each in value)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        known = [(name, hint) for name, hint in _hints(kind) if name in value]
        return kind(**{name: _read(hint, value[name]) for name, hint in known})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    return value
