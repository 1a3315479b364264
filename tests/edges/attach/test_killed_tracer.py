"""Whoever attaches is killed at each step of it: the target goes on as if nobody had come.

The steps are the requests to the kernel while the target stands still. Before its registers are
set, nothing has happened to it; from then on it makes the call by itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.edges.attach.targets import BUSY, means, python, running
from yolowatch.edges.attach.entering import attach, detach

PROGRAM = Path(__file__).parent / "programs" / "die_while_attaching.py"
REPOSITORY = Path(__file__).resolve().parents[3]

# The last call before the tracer dies, and whether the call into Python is made all the same.
MOMENTS = {
    "seize": False,
    "interrupt": False,
    "registers": False,
    "text": False,
    "trampoline": False,
    "set_registers": True,
    "detach": True,
}


# Those between which it is decided are tried in every version.
CASES = [(11, moment) for moment in MOMENTS]
CASES += [(m, moment) for m in (8, 9, 10, 12, 13) for moment in ("trampoline", "set_registers")]


@pytest.mark.parametrize(("minor", "moment"), CASES)
def test_the_tracer_is_killed(minor: int, moment: str, tmp_path: Path) -> None:
    with running((python(minor), str(BUSY))) as target:
        script = tmp_path / "script.py"
        script.write_text("import sys; sys.came = True\n")
        done = subprocess.run(
            (sys.executable, str(PROGRAM), str(target.pid), moment, str(script)),
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        turns = target.state()["turns"]
        while target.state()["turns"] < turns + 50:
            pass
        assert target.state()["came"] is MOMENTS[moment]
        attach(target.pid, means(tmp_path))  # as if nobody had been there
        detach(target.pid, means(tmp_path))
        target.end()


def test_a_call_that_hangs_is_taken_back(tmp_path: Path) -> None:
    """What the main thread did when it was stopped goes on, and comes out right."""
    program = Path(__file__).parent / "programs" / "hang_while_attaching.py"
    with running((sys.executable, str(BUSY))) as target:
        done = subprocess.run(
            (sys.executable, str(program), str(target.pid), str(tmp_path / "none.py")),
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "taken back\n", done.stderr
        turns = target.state()["turns"]
        while target.state()["turns"] < turns + 50:
            pass
        attach(target.pid, means(tmp_path))
        detach(target.pid, means(tmp_path))
        target.end()
