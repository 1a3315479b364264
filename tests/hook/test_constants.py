"""A constant of a function is replaced in memory, or nothing is: never something like it."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yolowatch.hook.levers import constants

LOOP = """\
from __future__ import annotations
import math

def train(hyp, batch):
    # 64 stands here more than once
    size = 64
    nbs = 64  # nominal
    scaled = [math.floor(x) + nbs for x in (64, 1)]
    return nbs, size, scaled, lambda: (nbs, batch)
"""


def load(path: Path, source: str) -> Callable[..., Any]:
    path.write_text(source)
    function: Callable[..., Any] = runpy.run_path(str(path))["train"]
    return function


def test_only_the_one_assignment_changes(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    train = load(path, LOOP)
    line = train.__code__.co_firstlineno
    constants.replace(train, "nbs", 72)
    nbs, size, scaled, later = train({}, 8)
    assert (nbs, size, scaled, later()) == (72, 64, [136, 73], (72, 8))
    assert train.__code__.co_firstlineno == line
    assert path.read_text() == LOOP


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (LOOP.replace("    nbs = 64  # nominal\n", "    nbs = 64\n    nbs = 32\n"), "2 times"),
        (LOOP.replace("nbs = 64", "nbs = max(64, 1)"), "no number"),
        (LOOP.replace("nbs = 64", "nbs, x = 64, 1"), "no number"),
        (LOOP.replace("    return", "    nbs += 1\n    return"), "2 times"),
        (LOOP.replace("    return", "    for nbs in ():\n        pass\n    return"), "2 times"),
        (LOOP.replace("nbs = 64", "nbs = True"), "no number"),
        (LOOP.replace("nbs", "nominal"), "0 times"),
    ],
)
def test_another_loop_is_left_alone(tmp_path: Path, source: str, why: str) -> None:
    train = load(tmp_path / "train.py", source)
    code = train.__code__
    with pytest.raises(LookupError, match=why):
        constants.replace(train, "nbs", 72)
    assert train.__code__ is code


@pytest.mark.parametrize(
    "source",
    [
        LOOP.replace("size = 64", "size = 65"),
        "\n" + LOOP,
        LOOP + LOOP.partition("\n\n")[2],
        LOOP.replace("def train", "def other"),
    ],
)
def test_a_source_that_was_changed_meanwhile_is_noticed(tmp_path: Path, source: str) -> None:
    path = tmp_path / "train.py"
    train = load(path, LOOP)
    path.write_text(source)
    with pytest.raises(LookupError, match="not what runs"):
        constants.replace(train, "nbs", 72)


def test_a_source_that_is_gone_is_said(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    train = load(path, LOOP)
    path.unlink()
    with pytest.raises(OSError, match="No such file"):
        constants.replace(train, "nbs", 72)
