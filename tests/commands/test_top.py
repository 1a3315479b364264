"""`yolowatch top` in a real terminal of 80 columns, fed by a real control socket."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyte
import pytest

from tests.commands.scripted import HOSTILE, TRAINING, VIEW, Daemon, memory
from yolowatch.model.view import RunView

PATIENCE = 30.0
HOME = b"\x1b[H"  # every picture begins with it


# A size in the environment would count more than the terminal's own.
_OURS = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}


class Terminal:
    """A terminal with `yolowatch top` in it: what it shows, and keys to press.

    `text` is the last picture that was drawn to its end, never half of the next one.
    """

    def __init__(self, socket: Path, columns: int, environ: dict[str, str]) -> None:
        self.screen = pyte.Screen(columns, 24)
        self._stream = pyte.ByteStream(self.screen)
        self.raw, self._drawing = b"", b""
        self.text = ""
        self._changed = threading.Condition()
        self.master, self.slave = pty.openpty()
        size = struct.pack("4H", 24, columns, 0, 0)
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, size)
        self.before = termios.tcgetattr(self.slave)
        slave = self.slave
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "yolowatch",
                "top",
                "--socket",
                str(socket),
                "--interval",
                "0.1",
            ],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**_OURS, "TERM": "xterm-256color", "LANG": "C.UTF-8", **environ},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0),
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.master, 1 << 16)
            except OSError:
                return
            with self._changed:
                self.raw += data
                *pictures, self._drawing = (self._drawing + data).split(HOME)
                for picture in pictures:
                    self._stream.feed(picture)
                    self.text = "\n".join(self.screen.display)
                    self._stream.feed(HOME)
                self._changed.notify_all()

    def until(self, shown: Callable[[str], bool] | str) -> str:
        """The screen once it shows that."""
        wanted = (lambda text: shown in text) if isinstance(shown, str) else shown
        with self._changed:
            assert self._changed.wait_for(lambda: wanted(self.text), PATIENCE), self.text
            return self.text

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def row(self, name: str) -> str:
        return next(line for line in self.text.split("\n") if name in line)

    def end(self) -> int:
        """The exit status, once everything it wrote has been read."""
        status = self.process.wait(PATIENCE)
        with self._changed:
            self._changed.wait_for(lambda: b"\x1b[?1049l" in self.raw, PATIENCE)
        return status

    def is_as_before(self) -> bool:
        """Whether modes are the old ones, the screen is the main one and the cursor is seen."""
        main = self.raw.rfind(b"\x1b[?1049l") > self.raw.rfind(b"\x1b[?1049h")
        cursor = self.raw.rfind(b"\x1b[?25h") > self.raw.rfind(b"\x1b[?25l")
        return main and cursor and termios.tcgetattr(self.slave) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    found = Daemon(tmp_path / "control.sock")
    yield found
    found.close()


OpenTerminal = Callable[..., Terminal]


@pytest.fixture
def terminal(daemon: Daemon) -> Iterator[OpenTerminal]:
    opened: list[Terminal] = []

    def build(columns: int = 80, **environ: str) -> Terminal:
        opened.append(Terminal(daemon.path, columns, environ))
        opened[-1].until("q quit")
        return opened[-1]

    yield build
    for each in opened:
        each.close()


def test_it_shows_gpus_runs_headroom_and_incidents(terminal: OpenTerminal) -> None:
    shown = terminal()
    text = shown.text
    assert "GPU 0 NVIDIA H200: 70.0 GiB of 139.0 GiB used, 87% busy, 45 °C" in text
    assert "yolowatch 1.0, mode recommend" in text
    first = shown.row("alice")
    for cell in ("a1b2c3d4", "training", "auto", "3/100", "16x4", "███████░░░░", "4.0 GiB"):
        assert cell in first
    assert "!" in shown.row("approve?")  # it is tight, without a colour too
    assert "b0b0c3d4 cuda-oom open: the GPU had no 2.0 GiB left" in text
    rows = [
        line.split()[0 if line[0] == " " else 1] for line in text.split("\n") if "c3d4 " in line
    ]
    assert rows[0] == "b0b0c3d4"  # it needs a person


def test_it_follows_what_happens(terminal: OpenTerminal, daemon: Daemon) -> None:
    shown = terminal()
    daemon.view = replace(VIEW, paused=True, runs=(replace(TRAINING, epoch=4, memory=memory(0.1)),))
    shown.until("4/100")
    assert "paused: nothing is acted on" in shown.text
    assert "!102.4 MiB" in shown.text
    daemon.view = replace(VIEW, runs=())
    shown.until("no trainings of yours are watched")


def test_keys_select_inspect_filter_and_sort(terminal: OpenTerminal) -> None:
    shown = terminal()
    shown.until(
        lambda text: any(line.startswith(">b0b0") for line in text.replace("> ", ">").split("\n"))
    )
    shown.press("\x1b[B")
    shown.until(lambda text: "> a1b2" in text)
    shown.press("k")
    shown.until(lambda text: "> b0b0" in text)
    shown.press("\r")
    shown.until("to carry it out: yolowatch approve b0b0c3d4")
    assert "predicted peak 8.0 GiB of 10.0 GiB" in shown.text
    shown.press("j")
    shown.until("the rule of user alice")
    shown.press("\x1b")
    shown.until("incidents")
    shown.press("s")
    shown.until("by headroom")
    shown.press("/alic")
    shown.until("filter: alic_")
    shown.until(lambda text: "b0b0c3d4" not in text)
    shown.press("x\x7f\r")
    shown.until("filter: alic")
    assert "a1b2c3d4" in shown.text
    shown.press("\x1b")
    shown.until("b0b0c3d4")


@pytest.mark.parametrize("columns", [80, 140])
def test_it_fits_and_says_more_where_there_is_room(terminal: OpenTerminal, columns: int) -> None:
    shown = terminal(columns)
    assert ("/home/alice/runs/train" in shown.text) is (columns > 80)
    assert "a1b2c3d4" in shown.row("alice")
    assert shown.row("q quit").strip()


def test_it_works_without_colour_and_without_utf8(terminal: OpenTerminal) -> None:
    shown = terminal(
        NO_COLOR="1", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LANG="C", LC_ALL="POSIX"
    )
    shown.until("#######....")
    assert not any(f"\x1b[{code}m".encode() in shown.raw for code in (31, 32, 33, 91, 92, 93))


def test_hostile_names_are_shown_and_not_obeyed(terminal: OpenTerminal) -> None:
    shown = terminal(140)
    shown.until("e111c3d4")
    assert b"\x1b[2J\x1b]0;owned" not in shown.raw
    assert "\u202e".encode() not in shown.raw
    assert "\\x1b[2J" in shown.text
    shown.press("/e111\r\r")
    shown.until(lambda text: "[red]x[/red]" in text)  # no markup either
    assert b"\x1b]0;owned" not in shown.raw
    assert "owned" not in shown.screen.title
    assert HOSTILE not in shown.text


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda shown: shown.press("q"), 0),
        (lambda shown: shown.press("\x03"), 0),
        (lambda shown: shown.process.send_signal(signal.SIGTERM), 128 + signal.SIGTERM),
        (lambda shown: shown.process.send_signal(signal.SIGHUP), 128 + signal.SIGHUP),
    ],
    ids=["q", "Ctrl-C", "SIGTERM", "SIGHUP"],
)
def test_the_terminal_is_given_back_as_it_was(
    terminal: OpenTerminal, end: Callable[[Terminal], Any], status: int
) -> None:
    shown = terminal()
    assert termios.tcgetattr(shown.slave) != shown.before
    end(shown)
    assert shown.end() == status
    assert shown.is_as_before()


def test_the_terminal_is_given_back_after_a_failure(terminal: OpenTerminal, daemon: Daemon) -> None:
    shown = terminal()
    broken: Any = "not a number"
    daemon.view = replace(VIEW, runs=(replace(TRAINING, memory=memory(1.0), epoch=broken),))
    daemon.view = replace(VIEW, devices=(replace(VIEW.devices[0], used_bytes=broken),))
    assert shown.end() == 125
    assert shown.is_as_before()


def test_ctrl_z_does_not_stop_it_with_the_screen_in_its_hands(terminal: OpenTerminal) -> None:
    shown = terminal()
    shown.press("\x1a")
    shown.press("s")
    shown.until("by headroom")


def test_a_daemon_that_ends_is_said_and_waited_for(terminal: OpenTerminal, daemon: Daemon) -> None:
    shown = terminal()
    daemon.close()
    shown.until("No yolowatch daemon listens at")
    assert "a1b2c3d4" in shown.text  # what was known last
    again = Daemon(daemon.path, replace(VIEW, runs=(replace(TRAINING, run="ffff0000"),)))
    try:
        shown.until("ffff0000")
        assert "No yolowatch daemon" not in shown.text
    finally:
        again.close()


def test_many_runs_scroll(terminal: OpenTerminal, daemon: Daemon) -> None:
    daemon.view = replace(
        VIEW, runs=tuple(replace(TRAINING, run=f"{i:08d}", memory=memory(5)) for i in range(200))
    )
    shown = terminal()
    shown.until("00000000")
    assert "00000199" not in shown.text
    shown.press("\x1b[F")
    shown.until("> 00000199")
    assert "q quit" in shown.text
    shown.press("\x1b[5~")
    shown.until("> 00000189")


def test_a_run_that_ends_while_it_is_inspected_is_left(
    terminal: OpenTerminal, daemon: Daemon
) -> None:
    shown = terminal()
    shown.press("/alice\r\r")
    shown.until("the rule of user alice")
    other: RunView = replace(TRAINING, run="ffff0000", mode_reason="another")
    daemon.view = replace(VIEW, runs=(other,))
    shown.until("another")


def test_without_a_terminal_there_is_a_sentence(daemon: Daemon) -> None:
    command = [sys.executable, "-m", "yolowatch", "top", "--socket", str(daemon.path)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 120
    assert "top needs a terminal; `yolowatch status`" in done.stderr
