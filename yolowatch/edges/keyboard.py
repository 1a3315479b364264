"""Single keys from the terminal, which is given back as it was whatever happens.

Nothing is read that is not waited for, and the terminal's own size and content are not touched:
who draws does that.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import tty
from collections.abc import Iterator
from types import FrameType

_DISABLED = b"\0"
_SEQUENCE_SECONDS = 0.05  # between Escape and the rest of a key's sequence
_SEQUENCES = {
    b"[A": "up", b"OA": "up", b"[B": "down", b"OB": "down",
    b"[5~": "page up", b"[6~": "page down", b"[H": "home", b"[F": "end",
}  # fmt: skip
_PLAIN = {b"\r": "enter", b"\n": "enter", b"\x7f": "backspace", b"\x08": "backspace"}
_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """A signal asks to end; like KeyboardInterrupt it is no failure."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def single_keys(descriptor: int) -> Iterator[None]:
    """Keys arrive one by one and are not shown; SIGTERM and SIGHUP become `Ended` meanwhile.

    Raises termios.error where it is no terminal.
    """
    before = termios.tcgetattr(descriptor)
    handlers = {number: signal.signal(number, _end) for number in _ENDING}
    try:
        tty.setcbreak(descriptor)
        now = termios.tcgetattr(descriptor)
        now[6][termios.VSUSP] = _DISABLED  # stopped, it would leave the screen as it is
        termios.tcsetattr(descriptor, termios.TCSANOW, now)
        yield
    finally:
        with contextlib.suppress(termios.error):  # it may have been hung up
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def next_key(descriptor: int, timeout_seconds: float) -> str | None:
    """The next key: a character, or the name of another key; None where none comes in time.

    Raises EOFError where the terminal has gone.
    """
    if not _readable(descriptor, timeout_seconds):
        return None
    try:
        first = os.read(descriptor, 1)
    except OSError:
        first = b""
    if not first:
        raise EOFError
    if first == b"\x1b":
        return _SEQUENCES.get(_sequence(descriptor), "escape")
    if first in _PLAIN:
        return _PLAIN[first]
    following = sum(first[0] >= lead for lead in (0xC0, 0xE0, 0xF0))  # bytes of UTF-8
    if following and _readable(descriptor, _SEQUENCE_SECONDS):
        first += os.read(descriptor, following)
    text = first.decode("utf-8", "replace")
    return text if text.isprintable() else ""


def _sequence(descriptor: int) -> bytes:
    """What follows Escape at once: the rest of one key's sequence."""
    found = b""
    while len(found) < 8 and _readable(descriptor, _SEQUENCE_SECONDS):
        found += os.read(descriptor, 1)
        if found in _SEQUENCES or (len(found) > 1 and found[-1:].isalpha()) or found[-1:] == b"~":
            break
    return found


def _readable(descriptor: int, timeout_seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], timeout_seconds)[0])


def _end(number: int, _frame: FrameType | None) -> None:
    raise Ended(number)
