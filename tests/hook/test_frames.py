"""Looking at a function's variables holds nothing that the function has let go of."""

from __future__ import annotations

import sys
import weakref
from typing import Any

from yolowatch.hook.frames import values_of


class Tensor:
    """Something whose end can be seen."""


def test_values_are_read_and_nothing_is_held() -> None:
    tensor = Tensor()
    seen = weakref.ref(tensor)
    assert values_of(sys._getframe(), "tensor", "missing") == [tensor, None]
    del tensor
    assert seen() is None


def test_what_the_function_itself_asked_for_stays() -> None:
    number = 7
    own: dict[str, Any] = locals()
    assert values_of(sys._getframe(), "number") == [7]
    assert own["number"] == number == 7
