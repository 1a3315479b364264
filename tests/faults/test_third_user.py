"""The helper with real trainings, torch among them, of a user who is neither core nor root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "third_user.py"
REPOSITORY = Path(__file__).resolve().parents[2]
# The trainer's Python may lie in a home that is closed to others: here, and here only, it is open.
REACHABLE = """
set -e
while test "$#" -gt 0 && test "$1" != --; do
    kept="$(mktemp -d)"
    mount --rbind "$1" "$kept"
    mkdir -p "$kept.open"
    mount -t tmpfs -o mode=755 tmpfs "$kept.open"
    for each in $(ls -A "$1"); do
        test -d "$1/$each" || continue
        mkdir "$kept.open/$each" && mount --rbind "$kept/$each" "$kept.open/$each"
    done
    mount --move "$kept.open" "$1"
    shift
done
shift
exec "$@"
"""


@pytest.mark.faults
@pytest.mark.slice
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be a helper, and two users more")
def test_a_real_training_of_a_third_user_is_healed(trainer_python: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    closed = [path for path in (Path.home(),) if not path.stat().st_mode & 0o001]
    done = subprocess.run(
        [
            *("unshare", "--mount", "/bin/sh", "-c", REACHABLE, "sh"),
            *(*map(str, closed), "--", sys.executable, str(PROGRAM), str(trainer_python)),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "finished with a batch of" in done.stdout
