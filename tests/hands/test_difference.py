"""What was changed in a file, as lines: exact where it is short, bounded where it is not."""

from __future__ import annotations

import pytest

from tests.daemon.parts import Bench
from yolowatch.hands.difference import MAX_BYTES, MAX_CHARACTERS, difference


def text(*lines: object) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def test_the_changed_lines_with_one_beside_them() -> None:
    before = text(*range(50), "batch: 16", "imgsz: 640", *range(50, 90))
    after = before.replace(b"batch: 16", b"batch: 4")
    assert difference(before, after) == "@@ line 50 @@\n 49\n-batch: 16\n+batch: 4\n imgsz: 640"


def test_rows_that_are_cut_off() -> None:
    found = difference(text(*range(9)), text(*range(5)))
    assert found == "@@ line 5 @@\n 4\n-5\n-6\n-7\n-8"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (b"", b"", ""),
        (b"a", b"a", ""),
        (b"", b"a\n", "@@ line 0 @@\n+a"),
        (b"\xff", b"a", None),
        (b"a" * (MAX_BYTES + 1), b"a", None),
        (text(*range(5000)), text(*range(1, 10_000, 2)), None),
    ],
)
def test_what_is_empty_no_text_or_too_long(
    before: bytes, after: bytes, expected: str | None
) -> None:
    assert difference(before, after) == expected


def test_a_long_difference_is_cut() -> None:
    found = difference(text(*range(500)), text(*(f"{n} {'x' * 500}" for n in range(500))))
    assert found is not None
    assert len(found) <= MAX_CHARACTERS
    assert all(len(line) <= 160 for line in found.splitlines())


def test_the_rewritten_file_comes_with_its_difference(tmp_path: object) -> None:
    bench = Bench(tmp_path)  # type: ignore[arg-type]
    resume = bench.do("vault").result["resume"]
    (change, *_) = bench.do("rewrite", resume).result["files"]
    assert change.diff is not None
    assert "-batch: 16\n+batch: 8" in change.diff
