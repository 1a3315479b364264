"""Where the labels of a data set lie, and how many boxes an image has: texts in, names out.

The convention of all three trainers: data.yaml names folders or lists of images, the label of
`…/images/…/NAME.png` is `…/labels/…/NAME.txt`, one line a box. Whoever reads the files is told
here where to look; nothing is opened here. What is written otherwise is not guessed at.
"""

from __future__ import annotations

import os.path

import yaml

_IMAGES, _LABELS = "/images/", "/labels/"
_MOST_PLACES = 16


def training_places(document: bytes, folder: str) -> tuple[str, ...]:
    """The folders and lists (.txt) of training images that a data.yaml in `folder` names.

    None are found in one that is not understood.
    """
    try:
        said = yaml.safe_load(document)
    except (yaml.YAMLError, ValueError, RecursionError):
        return ()
    if not isinstance(said, dict):
        return ()
    root, train = said.get("path") or "", said.get("train")
    named = train if isinstance(train, list) else [train]
    if not isinstance(root, str) or not all(isinstance(each, str) for each in named):
        return ()
    base = os.path.join(folder, root)
    places = [os.path.join(base, str(each)) for each in named[:_MOST_PLACES]]
    return tuple(os.path.normpath(each) for each in places)


def label_folder(images: str) -> str | None:
    """The folder of the labels of a folder of images."""
    before, found, after = (images.rstrip("/") + "/").rpartition(_IMAGES)
    return f"{before}{_LABELS}{after}".rstrip("/") if found else None


def label_file(image: str) -> str | None:
    """The file of the labels of one image."""
    before, found, after = image.rpartition(_IMAGES)
    if not found:
        return None
    return f"{before}{_LABELS}{os.path.splitext(after)[0]}.txt"


def boxes(label: bytes) -> int:
    """How many boxes the label of one image has."""
    return sum(1 for line in label.splitlines() if line.strip())
