"""A real training that an unprivileged user started by hand, healed by a daemon that came later."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.test_third_user import REACHABLE, REPOSITORY
from tests.trainers.scene import make_images

PROGRAM = Path(__file__).parent / "programs" / "by_hand.py"
ALONE = 'mount -t tmpfs tmpfs /run && exec /bin/sh -c "$0" "$@"'


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be a daemon for everybody")
def test_what_was_started_by_hand_is_found_healed_and_finishes(trainer_python: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    images = Path("/tmp/yolowatch-by-hand")
    data = make_images(trainer_python, images, 480, 96)
    subprocess.run(["chmod", "-R", "a+rX", str(images)], check=True)
    subprocess.run(["chmod", "a+w", *map(str, (images, *images.rglob("labels")))], check=True)
    closed = [path for path in (Path.home(),) if not path.stat().st_mode & 0o001]
    try:
        done = subprocess.run(
            [
                *("unshare", "--mount", "--pid", "--fork", "--mount-proc"),
                *("/bin/sh", "-c", ALONE, REACHABLE, "sh", *map(str, closed), "--"),
                *(sys.executable, str(PROGRAM), str(trainer_python), str(data)),
            ],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    finally:
        shutil.rmtree(images)
    assert done.returncode == 0, done.stdout
    assert "started by hand, healed, finished" in done.stdout
