"""The front door, in a home of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.door import Door


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    home = tmp_path / "home"
    home.mkdir()
    door = Door(home)
    yield door
    for process in door.started:  # what a failed test left running
        process.terminate()
        process.wait(20)
