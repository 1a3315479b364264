"""Figures and hostile texts, as people read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolowatch.model.printable import printable
from yolowatch.model.quantity import bytes_text, seconds_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_048_575, "1.0 MiB"),
        (1 << 20, "1.0 MiB"),
        (23.73e9, "22.1 GiB"),
        (int(1023.96 * (1 << 30)), "1.0 TiB"),
        (5 << 50, "5.0 PiB"),
        (9000 << 50, "9000.0 PiB"),
        (-(3 << 30), "-3.0 GiB"),
    ],
)
def test_bytes(count: float | None, text: str) -> None:
    assert bytes_text(count) == text


@given(st.integers(1024, 1 << 59))
def test_bytes_are_true_to_one_decimal(count: int) -> None:
    number, unit = bytes_text(count).split()
    size = 1024 ** (["KiB", "MiB", "GiB", "TiB", "PiB"].index(unit) + 1)
    assert abs(float(number) * size - count) <= 0.0501 * size
    assert len(number) <= 6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (0.0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7620, "2 h 07 min"),
    ],
)
def test_seconds(seconds: float | None, text: str) -> None:
    assert seconds_text(seconds) == text


@given(st.text(), st.integers(2, 60))
def test_any_text_is_made_printable_and_short(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    assert "\n" not in shown


def test_escapes_are_visible() -> None:
    assert printable("a\x1b[31m\u202eb\n\n  c") == r"a\x1b[31m\u202eb c"
    assert printable("plain – text é") == "plain – text é"
    assert printable("x" * 500, 10) == "x" * 9 + "…"
    assert re.fullmatch(r"(\\x07)+…", printable("\x07" * 100, 41))
    assert printable("") == ""
