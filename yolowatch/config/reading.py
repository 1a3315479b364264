"""What the files have in common: a YAML mapping of known keys, each with a reader of its value.

Nothing is guessed: an unknown key names the nearest one, a value of another type or out of range
says what it may be.
"""

from __future__ import annotations

import difflib
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml

from yolowatch.errors import ConfigError

# Aliases let a short text stand for an endless value: it is quoted in part.
_QUOTE = reprlib.Repr()
_QUOTE.maxlevel, _QUOTE.maxstring, _QUOTE.maxother = 2, 80, 80
Reader = Callable[[Any], Any]
"""The value as it is kept, or None where it may not be that."""


def mapping(text: str, name: str) -> Mapping[Any, Any]:
    """The mapping that the YAML document `text` is, empty for none; raises ConfigError."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        raise ConfigError(f"{name}{line} is no YAML: check its indentation and quotes.") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{name} must be a mapping of keys to values, one a line.")
    return document


def known(document: Mapping[Any, Any], keys: Iterable[str], where: str) -> None:
    """Raises ConfigError for the first key that is none of `keys`, and names the nearest."""
    names = list(keys)
    for key in document:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, 1, 0.0)
            raise ConfigError(f"{where} has the unknown key {key!r}: did you mean {near[0]!r}?")


def value(read: Reader, found: Any, key: str, expected: str, where: str) -> Any:
    """What `read` makes of `found`; raises ConfigError where that is nothing."""
    kept = read(found)
    if kept is None:
        said = _QUOTE.repr(found)
        if isinstance(found, bool) and expected.startswith("one of"):
            said += " (which is how YAML reads a bare yes, no, on or off)"
        raise ConfigError(f"{where}: {key} must be {expected}, not {said}.")
    return kept


def values(
    document: Mapping[Any, Any], keys: Mapping[str, tuple[Reader, str]], where: str
) -> dict[str, Any]:
    """What the document says of `keys`, each of which has its reader and what it must be."""
    return {
        key: value(keys[key][0], found, key, keys[key][1], where)
        for key, found in document.items()
        if key in keys
    }


def number(low: float, high: float) -> Reader:
    def read(found: Any) -> float | None:
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        return float(found) if is_number and low <= found <= high else None

    return read


def count(low: int, high: int) -> Reader:
    return lambda found: found if type(found) is int and low <= found <= high else None


def truth(found: Any) -> bool | None:
    return found if isinstance(found, bool) else None


def word(*words: str) -> Reader:
    return lambda found: found if isinstance(found, str) and found in words else None


def text(pattern: Callable[[str], bool]) -> Reader:
    return lambda found: found if isinstance(found, str) and pattern(found) else None


def _is_path(found: str) -> bool:
    return os.path.isabs(found) and "\0" not in found


absolute_path = text(_is_path)
path_or_none = text(lambda found: found == "none" or _is_path(found))
