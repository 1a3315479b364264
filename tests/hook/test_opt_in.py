"""What the levers that must be named read from a trainer, without one."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from yolowatch.hook.levers.opt_in_ultralytics import first_device, frozen_layers, set_arguments
from yolowatch.hook.observe import layers


@dataclass
class Layer:
    """A layer, by whether each of its parameters is trained."""

    trained: tuple[bool, ...] = ()

    def parameters(self) -> list[Any]:
        return [SimpleNamespace(requires_grad=each) for each in self.trained]


@dataclass
class Model:
    model: list[Layer]
    yaml: Any = field(default_factory=lambda: {"backbone": [[-1, 1, "Conv", [64]]] * 2})


FROZEN, TRAINED, EMPTY = Layer((False, False)), Layer((False, True)), Layer()


@pytest.mark.parametrize(
    ("model", "count"),
    [
        ([TRAINED, FROZEN], 0),
        ([FROZEN, TRAINED], 1),
        ([FROZEN, EMPTY, FROZEN, TRAINED], 3),
        ([FROZEN, EMPTY, TRAINED], 1),  # that without parameters says nothing
        ([EMPTY, TRAINED], 0),
        ([FROZEN, FROZEN], 2),
    ],
)
def test_the_first_layers_that_are_not_trained(model: list[Layer], count: int) -> None:
    assert layers.frozen(Model(model)) == count
    assert layers.frozen(SimpleNamespace(module=Model(model))) == count


def test_what_is_not_known_is_not_zero() -> None:
    assert layers.frozen(None) is None
    assert layers.backbone(None) is None
    assert layers.backbone(Model([], yaml="yolo11n.yaml")) is None
    assert layers.backbone(Model([])) == 2


@pytest.mark.parametrize(
    ("users", "found"),
    [(None, 3), (0, 3), (5, 5), ([0, 12], [0, 1, 2, 12]), ([], [0, 1, 2])],
)
def test_what_the_user_froze_stays_frozen(users: Any, found: Any) -> None:
    assert frozen_layers(users, 3) == found


def test_arguments_that_no_plan_names_stay() -> None:
    arguments = SimpleNamespace(imgsz=640, freeze=None)
    set_arguments(arguments, {"image_size": None, "freeze": None})
    assert vars(arguments) == {"imgsz": 640, "freeze": None}
    set_arguments(arguments, {"image_size": 320, "freeze": 10})
    assert vars(arguments) == {"imgsz": 320, "freeze": 10}


@pytest.mark.parametrize(
    ("users", "first"),
    [
        ("0,1", "0"),
        ("[2, 3]", "2"),
        ("cuda:1,cuda:0", "cuda:1"),
        ([3, 1], 3),
        (("0", "1"), "0"),
        ("-1,-1", "-1"),
        ("0", "0"),
    ],
)
def test_the_first_device_is_the_users_first(users: Any, first: Any) -> None:
    assert first_device(users) == first
    args = SimpleNamespace(device=users)
    set_arguments(args, {"one_gpu": True})
    assert args.device == first
    set_arguments(other := SimpleNamespace(device=users), {"one_gpu": False})
    assert other.device == users
