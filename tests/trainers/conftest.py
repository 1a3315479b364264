"""The data set of the real trainings, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainers.scene import Scene, make_images


@pytest.fixture(scope="session")
def small_data(trainer_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(trainer_python, tmp_path_factory.mktemp("images"), 32)


@pytest.fixture
def scene(trainer_python: Path, small_data: Path, tmp_path: Path) -> Scene:
    return Scene(tmp_path, trainer_python, small_data)
