"""What is installed is what stands in the tree: injected code, SQL and py.typed travel along."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy, because a build leaves its traces beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "yolowatch", source / "yolowatch", ignore=ignored)
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    (source / "yolowatch" / "__pycache__").mkdir()
    (source / "yolowatch" / "__pycache__" / "stale.cpython-311.pyc").touch()
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, source],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_every_file_and_no_other(wheel: zipfile.ZipFile) -> None:
    packed = {name for name in wheel.namelist() if name.startswith("yolowatch/")}
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "yolowatch").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == files


def test_the_wheel_names_its_licence_and_its_command(wheel: zipfile.ZipFile) -> None:
    info = [name for name in wheel.namelist() if ".dist-info/" in name]
    texts = {Path(name).name: wheel.read(name).decode() for name in info}
    assert "License-Expression: Apache-2.0" in texts["METADATA"]
    assert "yolowatch = yolowatch.commands.main:main" in texts["entry_points.txt"]
    assert "Apache License" in texts["LICENSE"]
