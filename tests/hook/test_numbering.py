"""How a training numbers its devices, read from its environment before its trainer is made."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from yolowatch.hook.levers.opt_in_ultralytics import set_arguments
from yolowatch.hook.observe import numbering


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has looked, and no variable is set."""
    monkeypatch.setattr(numbering._Before, "renumbered", None)
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "ultralytics", SimpleNamespace(__version__="8.4.190"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)


def described(index: int | None = 0, kind: str = "cuda", rect: Any = False) -> dict[str, Any]:
    device = SimpleNamespace(type=kind, index=index)
    trainer = SimpleNamespace(device=device, args=SimpleNamespace(rect=rect))
    return dict(numbering.describe(trainer))


@pytest.mark.parametrize(
    ("index", "visible", "number"),
    [
        (0, None, 0),
        (2, None, 2),
        (0, "3", 3),  # releases before 8.4 set it for the device that they are given
        (1, "0, 3", 3),
        (1, "3", None),
        (0, "GPU-8f2c", None),
        (0, "", None),
    ],
)
def test_the_number_among_all_devices(index: int, visible: str | None, number: int | None) -> None:
    assert numbering.number_of(index, visible) == number


def test_what_a_trainer_sets_itself_is_not_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    numbering.look()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert described() == {"gpu_number": 1, "renumbered": False, "spawnable": True}
    assert described(index=None)["gpu_number"] == 1


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"])
def test_what_was_there_before_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")
    numbering.look()
    assert described()["renumbered"] is True


def test_where_nobody_looked_it_is_not_known() -> None:
    assert described()["renumbered"] is None
    assert described(kind="cpu") == {}


@pytest.mark.parametrize(
    ("release", "package", "rect", "found"),
    [
        ("8.4.190", True, False, True),
        ("8.4.190", False, False, False),  # it would have to be installed for the ranks
        ("8.3.40", False, False, True),
        ("8.4.190", True, True, False),
        ("8.4.190", True, None, False),
    ],
)
def test_whether_ranks_can_be_spawned(
    release: str, package: bool, rect: Any, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", SimpleNamespace(__version__=release))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: package or None)
    assert described(rect=rect)["spawnable"] is found


def test_the_devices_of_the_plan_are_the_trainers() -> None:
    for users in ("0", 0, None, "cuda:0"):
        args = SimpleNamespace(device=users)
        set_arguments(args, {"more_gpus": [0, 3]})
        assert args.device == "0,3"
        set_arguments(other := SimpleNamespace(device=users), {"more_gpus": None})
        assert other.device == users
