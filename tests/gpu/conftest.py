"""The GPU, the Python that trains on it, and the record of what was seen there.

Needs nothing beyond pytest: the suite runs in a trainer's own Python too.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import environments
from tests.gpu.machine import PROGRAMS, ROOT, Gpu, said

RESULTS = ROOT / "bench" / "results"


@pytest.fixture(scope="session")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Gpu:
    """Skips with the reason where there is none; builds an environment only as the last choice."""
    settings = tmp_path_factory.mktemp("settings")
    path = os.environ.get("PYTHONPATH")
    environment = {**os.environ, **environments.trainer_variables(settings)}
    environment["PYTHONPATH"] = str(ROOT) if not path else f"{ROOT}{os.pathsep}{path}"
    for name in ("YOLOWATCH", "YOLOWATCH_SOCKET", "YOLOWATCH_EDITS"):
        environment.pop(name, None)
    python = _trainer()
    asked = subprocess.run(
        [python, PROGRAMS / "device.py"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if asked.returncode != 0:
        pytest.fail(f"{python} cannot import torch and ultralytics:\n{asked.stderr[-2000:]}")
    facts = said(asked.stdout)
    if not facts["available"]:
        pytest.skip(f"torch {facts['torch']} in {python} sees no CUDA device")
    return Gpu(python, facts, environment)


def _trainer() -> Path:
    given = os.environ.get("YOLOWATCH_TRAINER_PYTHON")
    if given:
        return Path(given)
    if importlib.util.find_spec("ultralytics") is not None:
        return Path(sys.executable)
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has no NVIDIA device (/dev/nvidia0)")
    return environments.trainer_python("ultralytics")


@pytest.fixture(scope="session")
def images(gpu: Gpu, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data.yaml of 64 images of 320 px."""
    folder = tmp_path_factory.mktemp("images")
    program = ROOT / "yolowatch" / "demo" / "images.py"
    made = gpu.run([sys.executable, program, folder, "64", "320"], 60)
    assert made.returncode == 0, made.stdout
    return folder / "data.yaml"


@pytest.fixture(scope="session")
def record(gpu: Gpu, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Figures that tests put there; written to bench/results with YOLOWATCH_RECORD=1, if all of
    them passed.
    """
    figures: dict[str, Any] = {}
    yield figures
    if os.environ.get("YOLOWATCH_RECORD") != "1" or request.session.testsfailed:
        return
    date = datetime.date.today().isoformat()
    machine = {**gpu.facts, "driver": _driver(), "kernel": platform.release(), "date": date}
    RESULTS.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine, **figures}
    (RESULTS / f"gpu-{date}.json").write_text(json.dumps(document, indent=1) + "\n")


def _driver() -> str | None:
    """The version of NVIDIA's driver, None where nobody tells it."""
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.split("\n")[0].strip() or None
