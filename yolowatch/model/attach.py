"""How far yolowatch may go to get its hook into a process that already runs."""

from __future__ import annotations

from enum import Enum

HELLO_SECONDS = 5.0
"""How long the answer of a hook that was brought in is waited for."""


class AttachPolicy(Enum):
    """The value of the configuration's key `attach`; each permits what the ones before it do.

    No value is a word that YAML takes for a truth value.
    """

    NONE = "none"
    PRELOADED = "preloaded"
    SAFE = "safe"
    DEBUGGER = "debugger"

    def permits(self, rung: Rung) -> bool:
        """Whether this rung of the ladder may be stepped on."""
        return rung in _PERMITTED[self]

    @property
    def meaning(self) -> str:
        """One line for the reference of the configuration."""
        return _MEANINGS[self]


class Rung(Enum):
    """One way of getting the hook into a process; the value is how people call it."""

    PRESENT = "the hook is there already"
    REMOTE_DEBUG = "Python's remote debugging"  # PEP 768
    PENDING_CALL = "a pending call through ptrace"
    DEBUGGER = "gdb"
    OUTSIDE = "observation from outside"


_PERMITTED = {
    AttachPolicy.NONE: {Rung.OUTSIDE},
    AttachPolicy.PRELOADED: {Rung.OUTSIDE, Rung.PRESENT},
    AttachPolicy.SAFE: {Rung.OUTSIDE, Rung.PRESENT, Rung.REMOTE_DEBUG, Rung.PENDING_CALL},
    AttachPolicy.DEBUGGER: set(Rung),
}
_MEANINGS = {
    AttachPolicy.NONE: "hooks are not listened to: every process is observed from outside only",
    AttachPolicy.PRELOADED: "only hooks that came with the process: `run`, `hook install`",
    AttachPolicy.SAFE: "also running processes, where the pause is under a millisecond",
    AttachPolicy.DEBUGGER: "also through gdb where nothing else works: a pause of up to a second",
}


def parse(text: object) -> AttachPolicy:
    """The policy of this word; raises ValueError whose text names the words there are."""
    try:
        return AttachPolicy(text)
    except ValueError:
        words = ", ".join(each.value for each in AttachPolicy)
        raise ValueError(f"attach is one of {words}, not {text!r}") from None
