"""The miniature's scene, for every test of a fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.scene import Miniature


@pytest.fixture
def scene(trainer_python: Path, tmp_path: Path) -> Miniature:
    return Miniature(tmp_path, trainer_python, tmp_path / "data.yaml")
