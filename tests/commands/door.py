"""The front door as a user meets it: `python -m yolowatch`, a real subprocess in its own home."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolowatch.edges.journal import Journal
from yolowatch.edges.records import ReceiptRecord, RunRecord

PROGRAMS = Path(__file__).with_name("programs")
PUPPET = (sys.executable, str(PROGRAMS / "puppet.py"))


def until(happened: Callable[[], object], seconds: float = 20.0) -> None:
    """Return as soon as it has happened; it must within `seconds`."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@dataclass
class Door:
    """One user's home; nothing of the tester's environment is seen but PATH."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.home / ".local" / "state" / "yolowatch"

    @property
    def journal(self) -> Path:
        return self.state / "journal.sqlite"

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "yolowatch", *map(str, arguments)]

    def variables(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), **self.environment}

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        options = {"stdin": subprocess.DEVNULL, "text": True, "env": self.variables(), **options}
        process = subprocess.Popen(self.command(*arguments), cwd=self.home, **options)
        self.started.append(process)
        return process

    def __call__(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        pipe = subprocess.PIPE
        process = self.start(*arguments, **{"stdout": pipe, "stderr": pipe, **options})
        output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def refuses(self, status: int, *arguments: object) -> str:
        """The one sentence with which a command is refused."""
        done = self(*arguments)
        lines = [each for each in done.stderr.splitlines() if "watching run" not in each]
        assert (done.returncode, done.stdout, len(lines)) == (status, "", 1), done
        assert lines[0].startswith("yolowatch: ")
        return lines[0].removeprefix("yolowatch: ")

    def json(self, *arguments: object) -> Any:
        done = self(*arguments, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def open_journal(self) -> Journal:
        """This user's journal, made where there is none."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Journal(self.journal)

    def receipts(self) -> tuple[ReceiptRecord, ...]:
        """Of the newest run."""
        with self.open_journal() as journal:
            return journal.receipts(journal.runs()[0].id)

    def last_run(self) -> RunRecord:
        with self.open_journal() as journal:
            return journal.runs()[0]


class Terminal:
    """A pseudo-terminal with yolowatch as its session's leader, as a login shell would have it."""

    def __init__(self, door: Door, *arguments: object) -> None:
        self.screen, other = pty.openpty()
        tty.setraw(other)
        modes = termios.tcgetattr(other)
        modes[3] |= termios.ISIG  # Ctrl-C still means something
        termios.tcsetattr(other, termios.TCSANOW, modes)
        self.name = os.ttyname(other)
        self.process = door.start(
            *arguments,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(other)

    def type(self, keys: bytes) -> None:
        os.write(self.screen, keys)

    def read(self) -> bytes:
        """Everything on the screen, once all writers are gone."""
        shown = b""
        with contextlib.suppress(OSError):  # EIO is a terminal's end of file
            while chunk := os.read(self.screen, 65536):
                shown += chunk
        return shown

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.screen)


@contextlib.contextmanager
def no_reader() -> Iterator[int]:
    """A descriptor that can be written to by nobody with success: a pipe without a reader."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)
