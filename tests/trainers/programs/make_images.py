"""Run by the trainer's Python: a tiny data set of coloured shapes in the folder given."""

import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

folder, size = Path(sys.argv[1]), 64
random.seed(0)
for split, count in (("train", 32), ("val", 8)):
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for index in range(count):
        image = Image.new("RGB", (size, size), (random.randrange(256),) * 3)
        kind, side = index % 2, random.randrange(16, 32)
        left, top = random.randrange(size - side), random.randrange(size - side)
        draw = ImageDraw.Draw(image)
        shape = draw.rectangle if kind else draw.ellipse
        shape((left, top, left + side, top + side), fill=(0, 200, 0) if kind else (200, 0, 0))
        image.save(images / f"{index}.jpg")
        box = ((left + side / 2) / size, (top + side / 2) / size, side / size, side / size)
        (labels / f"{index}.txt").write_text(" ".join(str(v) for v in (kind, *box)) + "\n")
(folder / "data.yaml").write_text(
    f"path: {folder}\ntrain: images/train\nval: images/val\nnames:\n  0: disc\n  1: box\n"
)
