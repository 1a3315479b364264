"""What labelled boxes add to the memory of a batch, where boxes are assigned to places by a table.

The assigners of ultralytics and yolov9 make a row of tensors for each box and each place of an
image, padded to the image with the most boxes: so many bytes a box and pixel, whatever the size.
Measured on ultralytics at 640 px: 24.5 against 11.4 GB for 900 and 300 boxes in each of 20 images.
YOLOv5 compares boxes with anchors and has no such table.
"""

from __future__ import annotations

from dataclasses import replace

from yolowatch.model.plan import Law
from yolowatch.model.run import LastWords, RunSpec, RunState

BYTES_PER_BOX_AND_PIXEL = 2.6
# A mosaic shows parts of four images: so many boxes of the densest one. Four at most, if it shows
# the same image four times and whole.
MOSAIC = 2.0
_ASSIGNING = ("ultralytics", "yolov9")


def assignment(spec: RunSpec | None) -> float:
    """Bytes for each box of an image and each pixel of the batch; 0 where there is no table."""
    return BYTES_PER_BOX_AND_PIXEL if spec is not None and spec.trainer in _ASSIGNING else 0.0


def denser(state: RunState, words: LastWords) -> bool:
    """Whether the batch that failed had more boxes an image than any that fitted."""
    place, seen = words.place, boxes_an_image(state)
    if seen is None or place.boxes is None or not place.batch or not assignment(state.spec):
        return False
    return place.phase == "loss" or place.boxes / place.batch > seen


def boxes_an_image(state: RunState, failed: bool = False) -> float | None:
    """The most boxes an image, on average over a batch, of all batches; None before any.

    `failed` includes the batch that failed.
    """
    seen = [
        each.boxes / each.batch
        for each in state.footprints
        if each.phase == "backward" and each.boxes is not None and each.batch > 0
    ]
    words = state.last_words
    if failed and words is not None and words.place.batch and words.place.boxes is not None:
        seen.append(words.place.boxes / words.place.batch)
    return max(seen, default=None)


def with_densest(law: Law, state: RunState, most_boxes: int | None) -> Law:
    """The law of a batch whose table is as wide as the densest image of the data set makes it.

    The table is as large for one such image in a batch as for many, and grows with the batch.
    """
    seen = boxes_an_image(state, failed=True)
    if most_boxes is None or seen is None:
        return law
    more = assignment(state.spec) * max(MOSAIC * most_boxes - seen, 0.0)
    return replace(law, per_pixel_bytes=law.per_pixel_bytes + more)
