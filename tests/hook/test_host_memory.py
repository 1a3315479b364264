"""The levers for the host's memory, on options as each trainer has them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from yolowatch.hook.levers import host_memory


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ("ram", "ram"),
        ("RAM", "ram"),
        (True, "ram"),
        ("val", "ram"),  # of YOLOv5: the images of validation
        ("disk", "disk"),
        (False, "none"),
        (None, "none"),
        ("", "none"),
        ("none", "none"),
    ],
)
def test_where_images_are_cached(cache: object, said: str) -> None:
    options = SimpleNamespace(cache=cache, workers=4)
    assert host_memory.describe(options, None) == {
        "workers": 4,
        "cache": said,
        "pin_memory": None,
    }


def test_the_loader_knows_better_than_the_options() -> None:
    loader = SimpleNamespace(num_workers=0, pin_memory=False)
    options = SimpleNamespace(cache=None, workers=8)
    assert host_memory.describe(options, loader) == {
        "workers": 0,
        "cache": "none",
        "pin_memory": False,
    }


@pytest.mark.parametrize(
    ("changes", "workers", "cache"),
    [
        ({}, 4, "ram"),
        ({"workers": 2}, 2, "ram"),
        ({"workers": 8}, 4, "ram"),
        ({"cache": "disk"}, 4, "disk"),
        ({"cache": "none", "workers": 0}, 0, False),
    ],
)
def test_options_are_changed_and_never_raised(
    changes: dict[str, Any], workers: int, cache: object
) -> None:
    options = SimpleNamespace(cache="ram", workers=4)
    host_memory.change_options(options, changes)
    assert (options.workers, options.cache) == (workers, cache)


def test_only_the_training_that_is_meant_is_unpinned() -> None:
    class Loader:
        def __init__(self, dataset: str, pin_memory: bool = False) -> None:
            self.said = dataset, pin_memory

    ours = [True]
    host_memory.unpin(Loader, lambda: ours[0])
    assert Loader("images", pin_memory=True).said == ("images", False)
    assert Loader("images").said == ("images", False)
    ours[0] = False
    assert Loader("images", pin_memory=True).said == ("images", True)
