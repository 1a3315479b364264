"""The types of the helper's protocol: each reads one JSON value or refuses it.

Nothing is clipped or converted: what is not exactly as it must be is refused whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Refused(ValueError):
    """A message that the protocol does not allow; the text says in a few words why."""


class Bound(Protocol):
    def read(self, value: Any) -> Any:
        """The value; raises Refused."""


@dataclass(frozen=True)
class Int:
    """An integer from `low` to `high`."""

    low: int = 0
    high: int = 1 << 53

    def read(self, value: Any) -> int:
        if type(value) is not int or not self.low <= value <= self.high:
            raise Refused(f"no integer from {self.low} to {self.high}")
        return value


@dataclass(frozen=True)
class Num:
    """A finite number from `low` to `high`."""

    low: float = 0.0
    high: float = 1e18

    def read(self, value: Any) -> float:
        # The comparison is false for what is not a number, as JSON can say it.
        if type(value) not in (int, float) or not self.low <= value <= self.high:
            raise Refused(f"no number from {self.low:g} to {self.high:g}")
        return float(value)


@dataclass(frozen=True)
class Flag:
    """A truth value."""

    def read(self, value: Any) -> bool:
        if type(value) is not bool:
            raise Refused("no truth value")
        return value


@dataclass(frozen=True)
class Text:
    """Text that matches `pattern` from its beginning to its end."""

    pattern: str

    def read(self, value: Any) -> str:
        if type(value) is not str or not re.fullmatch(self.pattern, value):
            raise Refused(f"no text of the form {self.pattern}")
        return value


@dataclass(frozen=True)
class Choice:
    """One of a closed set of words."""

    words: tuple[str, ...]

    def read(self, value: Any) -> str:
        if type(value) is not str or value not in self.words:
            raise Refused(f"none of {', '.join(self.words)}")
        return value


@dataclass(frozen=True)
class Many:
    """A list of up to `limit` items of one type."""

    item: Bound
    limit: int

    def read(self, value: Any) -> list[Any]:
        if type(value) is not list or len(value) > self.limit:
            raise Refused(f"no list of up to {self.limit}")
        return [self.item.read(each) for each in value]


@dataclass(frozen=True)
class Record:
    """An object with exactly these fields; an `optional` one may be absent or null: unknown."""

    fields: Mapping[str, Bound]
    optional: Mapping[str, Bound]

    def read(self, value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Refused("no object")
        for name in value:
            if name not in self.fields and name not in self.optional:
                raise Refused(f"{str(name)[:40]!r}: no such field")
        found = {}
        for name, bound in self.fields.items():
            if name not in value:
                raise Refused(f"{name}: missing")
            found[name] = self._field(name, bound, value[name])
        for name, bound in self.optional.items():
            given = value.get(name)
            found[name] = None if given is None else self._field(name, bound, given)
        return found

    def _field(self, name: str, bound: Bound, value: Any) -> Any:
        try:
            return bound.read(value)
        except Refused as refused:
            raise Refused(f"{name}: {refused}") from None
