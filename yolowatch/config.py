"""The policy file: text in, a frozen `Policy` out, or one sentence that says what is wrong.

Nothing is guessed: an unknown key names the nearest one, a value of another type or out of range
says what it may be. Files are read elsewhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import yaml

from yolowatch.errors import ConfigError
from yolowatch.model.opt_in import NEVER, OPT_IN
from yolowatch.model.plan import LEVERS, Policy

EMERGENCY = ("never", "complete", "any")
_LEVERS = (*LEVERS, *OPT_IN)


def policy(text: str, name: str, base: Policy) -> Policy:
    """The policy that the YAML document `text` describes, over `base`; `name` is for the errors.

    Raises ConfigError.
    """
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        raise ConfigError(f"{name}{line} is no YAML: check its indentation and quotes.") from None
    if document is None:
        return base
    if not isinstance(document, dict):
        raise ConfigError(f"{name} must be a mapping of keys to values, one a line.")
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, 1, 0.0)
            raise ConfigError(f"{name} has the unknown key {key!r}: did you mean {near[0]!r}?")
        field, read, expected, _meaning = KEYS[key]
        for lever in NEVER if key == "levers" and isinstance(value, list) else ():
            if lever in value:
                raise ConfigError(f"{name}: {lever} is refused always: {NEVER[lever]}.")
        found = read(value)
        if found is None:
            raise ConfigError(f"{name}: {key} must be {expected}, not {value!r}.")
        values[field] = found
    return replace(base, **values)


def _number(low: float, high: float) -> Callable[[Any], float | None]:
    def read(value: Any) -> float | None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number and low <= value <= high else None

    return read


def _count(low: int, high: int) -> Callable[[Any], int | None]:
    return lambda value: value if type(value) is int and low <= value <= high else None


def _word(*words: str) -> Callable[[Any], str | None]:
    return lambda value: value if isinstance(value, str) and value in words else None


def _levers(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list) or any(each not in _LEVERS for each in value):
        return None
    return tuple(each for each in _LEVERS if each in value)


# key: (field of Policy, reader, what it must be, what it means)
KEYS: dict[str, tuple[str, Callable[[Any], Any], str, str]] = {
    "margin": (
        "margin_ratio",
        _number(0.0, 0.9),
        "a part from 0 to 0.9",
        "part of the memory that every prediction keeps free",
    ),
    "levers": (
        "levers",
        _levers,
        f"a list of some of: {', '.join(_LEVERS)}",
        f"the levers that may be used; {', '.join(OPT_IN)} only where they are named here",
    ),
    "emergency": (
        "emergency",
        _word(*EMERGENCY),
        f"one of: {', '.join(EMERGENCY)}",
        "what a failing training saves of itself: an epoch that only lacks its validation, or "
        "weights in the middle of an epoch as well",
    ),
    "widen_after_batches": (
        "widen_after_batches",
        _count(1, 1_000_000),
        "a whole number from 1 to 1000000",
        "after how many training batches at a narrowed range of image sizes a wider one, which is "
        "predicted to fit, is ordered",
    ),
    "attempts_without_progress": (
        "attempts_without_progress",
        _count(1, 100),
        "a whole number from 1 to 100",
        "after how many attempts in a row without a new epoch a person is needed",
    ),
    "exit_grace_seconds": (
        "exit_grace_seconds",
        _number(0.0, 3600.0),
        "seconds from 0 to 3600",
        "how long a failed training may take to end by itself before it gets SIGTERM",
    ),
    "kill_grace_seconds": (
        "kill_grace_seconds",
        _number(0.0, 3600.0),
        "seconds from 0 to 3600",
        "from SIGTERM to SIGKILL",
    ),
    "memory_wait_seconds": (
        "memory_wait_seconds",
        _number(0.0, 3600.0),
        "seconds from 0 to 3600",
        "how long the device may take to have the memory back",
    ),
    "keep_checkpoints": (
        "keep_checkpoints",
        _count(1, 100),
        "a whole number from 1 to 100",
        "how many copies of checkpoints the vault keeps",
    ),
    "vault_gib": (
        "vault_gib",
        _number(0.001, 1e6),
        "GiB from 0.001 to 1000000",
        "how much space those copies may take together; what alone takes more is not copied",
    ),
}
