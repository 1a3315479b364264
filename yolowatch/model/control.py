"""What may be asked through the control socket: the one table of verbs, arguments and bounds.

A request is one JSON line `{"verb": …, "arguments": {…}}` of at most `MAX_REQUEST_BYTES`, an
answer one JSON line with `ok`, and where that is false an `error`, which is a sentence. `parse`
refuses what the table does not name: who commands is told of a mistake rather than misunderstood.

Who may ask for what is `decide.authority`'s; nothing here holds a socket.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_REQUEST_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""A machine's runs with all they have to tell are far below it."""

_PID_MAX = 2**22
_ID_CHARACTERS = 64


class ControlError(ValueError):
    """A line that is no request; the text says in a few words why."""


@dataclass(frozen=True)
class ControlRequest:
    """A well-formed request; `uid` and `pid` are the asker's, as the kernel says.

    `in_group` says whether the control group is among the asker's groups.
    """

    connection: int
    uid: int
    pid: int
    in_group: bool
    verb: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Approve:
    """Carry out the plan of a run that waits for it."""

    run: str
    plan: str


@dataclass(frozen=True)
class Pause:
    """Observe, never act: one run, or all where `run` is None."""

    run: str | None


@dataclass(frozen=True)
class ResumeRun:
    """Act again: one run, or all that are not paused by themselves where `run` is None."""

    run: str | None


@dataclass(frozen=True)
class Rollback:
    """Put the files of a run back as they were before the first remediation."""

    run: str


@dataclass(frozen=True)
class AttachTo:
    """Get the hook into a process; it is the asker's or the asker may command all."""

    pid: int


@dataclass(frozen=True)
class Detach:
    """Get the hook out of a process again."""

    pid: int


Command = Approve | Pause | ResumeRun | Rollback | AttachTo | Detach


def _pid(value: Any) -> bool:
    return type(value) is int and 0 < value <= _PID_MAX


def _id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _ID_CHARACTERS and value.isprintable()


@dataclass(frozen=True)
class _Argument:
    fits: Callable[[Any], bool]
    expected: str
    required: bool = True


_RUN = _Argument(_id, "a run's id or its beginning")
_ANY_RUN = _Argument(_id, "a run's id or its beginning", required=False)
_PLAN = _Argument(_id, "a plan's id", required=False)
_PROCESS = _Argument(_pid, "a process's number")

VERBS: dict[str, dict[str, _Argument]] = {
    "status": {"run": _ANY_RUN},  # of one run, with receipts
    "attach": {"pid": _PROCESS},
    "detach": {"pid": _PROCESS},
    "approve": {"run": _RUN, "plan": _PLAN},  # with a plan: that one and no later one
    "pause": {"run": _ANY_RUN},
    "resume": {"run": _ANY_RUN},
    "rollback": {"run": _RUN},
}


def encode(verb: str, arguments: Mapping[str, Any]) -> bytes:
    """The line of a request; arguments that are None are left out. Raises ControlError."""
    given = {name: value for name, value in arguments.items() if value is not None}
    line = json.dumps({"verb": verb, "arguments": given}, separators=(",", ":")).encode() + b"\n"
    parse(line)
    return line


def parse(line: bytes) -> tuple[str, Mapping[str, Any]]:
    """Verb and arguments of one line; raises ControlError, and nothing else, for hostile bytes."""
    if len(line) > MAX_REQUEST_BYTES:
        raise ControlError("the request is too long")
    try:
        body = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ControlError("the request is no JSON") from None
    if type(body) is not dict or not set(body) <= {"verb", "arguments"}:
        raise ControlError("the request is no object of a verb and its arguments")
    verb, arguments = body.get("verb"), body.get("arguments", {})
    if not isinstance(verb, str) or verb not in VERBS:
        raise ControlError(f"there is no such verb; there are: {', '.join(VERBS)}")
    if type(arguments) is not dict or not set(arguments) <= set(VERBS[verb]):
        raise ControlError(f"{verb} takes only: {', '.join(VERBS[verb])}")
    for name, argument in VERBS[verb].items():
        if name not in arguments and not argument.required:
            continue
        if not argument.fits(arguments.get(name)):
            raise ControlError(f"{verb}: {name} must be {argument.expected}")
    return verb, arguments
