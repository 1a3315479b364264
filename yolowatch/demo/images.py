"""Make a small detection data set: coloured shapes on a dark ground, with labels in YOLO's format.

Usage: python images.py DIRECTORY [COUNT] [SIZE]. Standard library only; the same images every time.
"""

from __future__ import annotations

import random
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

COLOURS = ((230, 80, 60), (70, 190, 90))


def png(pixels: Sequence[bytes | bytearray], size: int) -> bytes:
    """The bytes of an RGB image of `size` x `size` pixels, given as rows of bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(row) for row in pixels), 1)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def picture(rng: random.Random, size: int) -> tuple[bytes, str]:
    """One image and its labels: three rectangles of two classes."""
    rows = [bytearray(v >> 3 for v in rng.randbytes(size * 3)) for _ in range(size)]
    labels = []
    for _ in range(3):
        kind = rng.randrange(len(COLOURS))
        width, height = rng.randint(size // 6, size // 2), rng.randint(size // 6, size // 2)
        left, top = rng.randint(0, size - width), rng.randint(0, size - height)
        for y in range(top, top + height):
            rows[y][left * 3 : (left + width) * 3] = bytes(COLOURS[kind]) * width
        centre = ((left + width / 2) / size, (top + height / 2) / size)
        box = (*centre, width / size, height / size)
        labels.append(" ".join([str(kind), *(f"{value:.5f}" for value in box)]))
    return png(rows, size), "\n".join(labels) + "\n"


def make(root: Path, count: int, size: int) -> Path:
    """Write `count` training images and a quarter as many for validation; returns data.yaml."""
    rng = random.Random(0)
    for split, images in (("train", count), ("val", max(count // 4, 1))):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        for number in range(images):
            image, labels = picture(rng, size)
            (root / "images" / split / f"{number:03d}.png").write_bytes(image)
            (root / "labels" / split / f"{number:03d}.txt").write_text(labels)
    data = root / "data.yaml"
    places = "train: images/train\nval: images/val"
    data.write_text(f"path: {root.resolve()}\n{places}\nnames: {{0: red, 1: green}}\n")
    return data


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[2:]]
    print(make(Path(sys.argv[1]), *(numbers or [64, 160])))
