"""Between a training and its terminal stands nothing: descriptors, Ctrl-C, signals, survival."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.commands.door import PROGRAMS, Door, Terminal, until

OUTPUT = b"\r 50%|\xe2\x96\x88\xe2\x96\x88  |\x1b[K\r100%\x1b[31m!\x1b[0m\n"
ERRORS = b"warning\tX\n"


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return tmp_path / "told"


def showing(told: Path) -> tuple[str, ...]:
    return ("run", "--", sys.executable, str(PROGRAMS / "show_descriptors.py"), str(told))


def counting(told: Path, status: int = 42) -> tuple[str, ...]:
    program = str(PROGRAMS / "count_signals.py")
    return ("run", "--", sys.executable, program, str(told), str(status))


def facts(told: Path) -> dict[str, Any]:
    return dict(json.loads(told.read_text()))


def ready(told: Path) -> bool:
    return told.exists() and told.read_text() == "ready"


# ---------------------------------------------------------------- descriptors


def test_the_training_has_the_terminal_itself(door: Door, told: Path) -> None:
    with Terminal(door, *showing(told)) as terminal:
        shown = terminal.read()
        assert terminal.process.wait(20) == 0
    found = facts(told)
    assert found["terminal"] == terminal.name
    assert [is_terminal for _, _, is_terminal in found["descriptors"]] == [True] * 3
    assert found["group"] == terminal.process.pid, "the foreground group of the terminal"
    assert OUTPUT + ERRORS in shown, "byte for byte, nothing between"
    ours = shown.replace(OUTPUT + ERRORS, b"").decode().split("\n")
    assert all(line.startswith("yolowatch: ") for line in ours if line)
    assert len(ours) <= 4


def test_pipes_and_files_are_handed_on_as_they_are(door: Door, told: Path) -> None:
    (door.home / "input").write_bytes(b"data")
    extra, _ = pipe = os.pipe()
    with (
        open(door.home / "input", "rb") as given,
        open(door.home / "output", "wb") as output,
        open(door.home / "errors", "wb") as errors,
    ):
        process = door.start(
            *showing(told), stdin=given, stdout=output, stderr=errors, pass_fds=(extra,)
        )
        assert process.wait(20) == 0
        expected = [os.fstat(each.fileno()) for each in (given, output, errors)]
    for each in pipe:
        os.close(each)
    found = facts(told)
    identities = [(device, inode) for device, inode, _ in found["descriptors"]]
    assert identities == [(each.st_dev, each.st_ino) for each in expected]
    assert found["more"] == [extra], "what the user hands over, and nothing of yolowatch's"
    assert (door.home / "output").read_bytes() == OUTPUT
    assert ERRORS in (door.home / "errors").read_bytes()


# ---------------------------------------------------------------- signals


def test_ctrl_c_reaches_the_training_exactly_once(door: Door, told: Path) -> None:
    with Terminal(door, *counting(told)) as terminal:
        until(lambda: ready(told))
        terminal.type(b"\x03")
        assert terminal.process.wait(20) == 42, "its own status"
    assert facts(told) == {"SIGINT": 1}
    assert door.last_run().outcome == "interrupted"


def test_ctrl_c_ends_a_training_as_a_shell_would_tell(door: Door, told: Path) -> None:
    program = f"open({str(told)!r}, 'w').write('ready'); import time; time.sleep(60)"
    with Terminal(door, "run", "--", sys.executable, "-c", program) as terminal:
        until(lambda: ready(told))
        terminal.type(b"\x03")
        shown = terminal.read()
        assert terminal.process.wait(20) == 130
    assert shown.count(b"KeyboardInterrupt") == 1
    assert b"Traceback (most recent call last)" in shown, "the training's own; ours has none"
    assert b"yolowatch/daemon" not in shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_to_the_supervisor_alone_is_forwarded_once(
    door: Door, told: Path, number: signal.Signals
) -> None:
    process = door.start(*counting(told), stderr=subprocess.DEVNULL)
    until(lambda: ready(told))
    process.send_signal(number)
    assert process.wait(20) == 42
    assert facts(told) == {number.name: 1}
    assert door.last_run().outcome == "interrupted"


def test_a_training_that_dies_of_a_forwarded_signal(door: Door, told: Path) -> None:
    program = f"touch {told}; exec sleep 60"
    process = door.start("run", "--", "sh", "-c", program, stderr=subprocess.DEVNULL)
    until(told.exists)
    process.terminate()
    assert process.wait(20) == 143


def test_what_nohup_ignores_is_neither_forwarded_nor_taken_for_a_wish(
    door: Door, told: Path
) -> None:
    script = 'trap "" HUP; exec "$@"'
    process = subprocess.Popen(
        ["sh", "-c", script, "sh", *door.command("run", "--", "sh", "-c",
         f"touch {told}; while [ ! -e {told}.go ]; do sleep 0.02; done; kill -9 $$")],
        env=door.variables(), cwd=door.home, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(told.exists)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)  # nothing is to happen, and nothing tells when it has not
    Path(f"{told}.go").touch()
    assert process.wait(20) == 137
    assert door.last_run().outcome == "killed", "and not interrupted: a failure would be healed"


# ---------------------------------------------------------------- survival


def test_the_training_outlives_a_killed_supervisor(door: Door, told: Path) -> None:
    program = f"echo $$ > {told}; while [ ! -e {told}.go ]; do sleep 0.02; done; echo yes > {told}"
    with tempfile.TemporaryDirectory() as place:  # a killed supervisor cannot remove its socket
        door.environment["TMPDIR"] = place
        process = door.start("run", "--", "sh", "-c", program, stderr=subprocess.DEVNULL)
        until(lambda: told.exists() and told.read_text().endswith("\n"))
        process.kill()
        process.wait(20)
    Path(f"{told}.go").touch()
    until(lambda: told.read_text() == "yes\n")
    run = door.last_run()
    assert (run.ended, run.status) == (None, None)
    assert "running or killed" in door("runs").stdout
    assert "its supervisor was killed" in door("show", run.id).stdout
