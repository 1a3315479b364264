"""The metrics page of a real training: promtool finds nothing to say, and the figures are there."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.trainers.scene import Scene
from tests.trainers.test_not_memory import command

pytestmark = pytest.mark.trainers


def test_a_scrape_during_training(scene: Scene, promtool: Path) -> None:
    process = scene.start(
        scene.supervised(command(scene, "long"), "--metrics", "127.0.0.1:0"), start_new_session=True
    )
    try:
        page = ""
        deadline = time.monotonic() + 120
        while not re.search(r'yolowatch_run_epoch\{run="[0-9a-f]{8}"\} [2-9]', page):
            assert time.monotonic() < deadline, page
            assert process.poll() is None
            time.sleep(0.5)
            output = (scene.root / "output.txt").read_text(errors="replace")
            found = re.search(r"metrics on (http://127\.0\.0\.1:\d+/metrics)", output)
            if found is not None:
                with urllib.request.urlopen(found.group(1), timeout=10) as answer:
                    page = answer.read().decode()
    finally:
        process.terminate()
        process.wait(60)
    checked = subprocess.run(
        (promtool, "check", "metrics"), input=page, text=True, capture_output=True
    )
    assert checked.returncode == 0
    assert checked.stdout + checked.stderr == ""
    assert re.search(r"yolowatch_allocated_bytes\{.*\} [1-9]", page)
    assert re.search(r'yolowatch_run_state\{.*="training"\} 1', page)
