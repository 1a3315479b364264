"""Python's own remote debugging (PEP 768), driven from outside whatever Python runs yolowatch.

The interpreter is told the path of a script and runs it when it next evaluates Python: nothing is
stopped. It publishes where its fields lie; where in that publication they stand is known for each
minor version, and any other is refused.
"""

from __future__ import annotations

import os
import struct

from yolowatch.edges.attach.memory import Memory

COOKIE = b"xdebugpy"
_INTERPRETERS, _MAIN_THREAD = 5, 10  # indices of 64-bit words in the publication
_SUPPORT = {(3, 14): 89}  # of the six words about remote debugging
_RELEASES = (0xC0, 0xF0)  # candidates and finals: the alphas had others
_PLEASE_STOP = 1 << 5


class Disabled(PermissionError):
    """The process was started so that nobody can debug it remotely."""


class Unknown(LookupError):
    """This version's fields are not known here."""


def is_offered(version: tuple[int, int] | None) -> bool:
    """Whether an interpreter of this version can be asked in this way."""
    return version in _SUPPORT


def run_script(memory: Memory, runtime: int, path: str) -> None:
    """Let the main thread run the script at `path` soon; `runtime` is where `_PyRuntime` lies.

    Raises Disabled, Unknown, or OSError.
    """
    if memory.read(runtime, len(COOKIE)) != COOKIE:
        raise Unknown("it does not publish its fields")
    number = memory.word(runtime + 8)
    version = number >> 24 & 0xFF, number >> 16 & 0xFF
    if version not in _SUPPORT or number & 0xF0 not in _RELEASES:
        raise Unknown(f"the fields of Python {version[0]}.{version[1]} are not known")
    at = _SUPPORT[version]
    published = struct.unpack(f"<{at + 6}Q", memory.read(runtime, (at + 6) * 8))
    breaker, support, enabled, pending, script, room = published[at:]
    interpreter = memory.word(runtime + published[_INTERPRETERS])
    if struct.unpack("<i", memory.read(interpreter + enabled, 4))[0] != 1:
        raise Disabled
    thread = memory.word(interpreter + published[_MAIN_THREAD])
    text = os.fsencode(path) + b"\0"
    if len(text) > room:
        raise Unknown(f"the path of the script is longer than {room - 1} bytes")
    memory.write(thread + support + script, text)
    memory.write(thread + support + pending, struct.pack("<i", 1))
    # Read and written in two steps, as Python's own sys.remote_exec does it: a request that another
    # thread sets in between may be lost, and is made again.
    memory.write(thread + breaker, struct.pack("<Q", memory.word(thread + breaker) | _PLEASE_STOP))
