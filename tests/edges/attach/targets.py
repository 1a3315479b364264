"""Processes to attach to, and what they say of themselves."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.environments import installed_python
from yolowatch.edges.attach.entering import Means

BUSY = Path(__file__).parent / "programs" / "busy.py"


class Target:
    """A Python that works, and answers on its standard input and output."""

    def __init__(self, command: Sequence[str], **more: Any) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more
        )
        self.first = self._line()

    @property
    def pid(self) -> int:
        return self.process.pid

    def state(self) -> dict[str, Any]:
        self._write("state")
        return self._line()

    def end(self) -> None:
        """It has computed what it would have, and ends well."""
        self._write("end")
        assert self._line() == {"unharmed": True}
        assert self.process.wait(60) == 0

    def _write(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the target has ended: {self.process.wait(10)}"
        told = json.loads(line)
        assert isinstance(told, dict)
        return told


@contextmanager
def running(command: Sequence[str], **more: Any) -> Iterator[Target]:
    target = Target(command, **more)
    try:
        yield target
    finally:
        target.process.kill()
        target.process.wait()


def python(minor: int) -> str:
    """A Python of this version; the test is skipped by name where there is none."""
    path = installed_python(minor)
    if path is None:
        pytest.skip(f"no Python 3.{minor} here")
    return str(path)


def means(root: Path, **more: Any) -> Means:
    """With a state directory of the test's own, and a daemon that is not there."""
    state = root / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    settings = {"seconds": 60.0, "run_seconds": 0.0, "socket": root / "nobody.sock", **more}
    return Means(dict(os.environ), state, **settings)
