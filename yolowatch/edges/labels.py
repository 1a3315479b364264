"""Reads how many boxes the densest image of a data set has, in bounded time.

A data set is somebody else's and may be anything: a million files, a pipe, a link to nowhere. What
is more than the bounds allow, and what cannot be read, gives None: unknown, and not a part of it,
because the densest image may be in the rest. Only files of this process's own user, or those that
anybody may read, are looked at, by a daemon that is not root for others; see `daemon.foreseeing`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from yolowatch.edges.clock import Clock
from yolowatch.trainers import labels

MOST_FILES = 200_000
MOST_SECONDS = 60.0
MOST_BYTES = 1 << 20  # of one label file: 20,000 boxes
_MOST_DOCUMENT, _MOST_LIST = 64 << 10, 32 << 20
_AT_ONCE = 512  # files between two looks at the clock


class _Unknown(Exception):
    """Something is not as it should be, or too much."""


def most_boxes(data: str, clock: Clock) -> int | None:
    """The boxes of the densest training image of the data.yaml at `data`; None is unknown."""
    deadline = clock.monotonic() + MOST_SECONDS
    most = read = 0
    try:
        document = _read(data, _MOST_DOCUMENT)
        for place in labels.training_places(document, os.path.dirname(data)):
            for path in _label_files(place, MOST_FILES - read):
                read += 1
                if read > MOST_FILES or (read % _AT_ONCE == 0 and clock.monotonic() > deadline):
                    return None
                most = max(most, labels.boxes(_read(path, MOST_BYTES)))
    except (OSError, ValueError, _Unknown):
        return None
    return most if read else None


def _label_files(place: str, room: int) -> Iterator[str]:
    """The label files of a folder of images or of a list of them."""
    if place.endswith(".txt"):
        for line in _read(place, _MOST_LIST).decode("utf-8").splitlines():
            image = os.path.join(os.path.dirname(place), line.strip()) if line.strip() else ""
            path = labels.label_file(image)
            if image and path is None:
                raise _Unknown
            if path is not None and os.path.exists(path):  # an image without boxes has none
                yield path
        return
    folder = labels.label_folder(place)
    if folder is None:
        raise _Unknown
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                room -= 1
                if room < 0:
                    raise _Unknown
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.name.endswith(".txt"):
                    yield entry.path


def _read(path: str, most: int) -> bytes:
    """The whole of a regular file that is not too large."""
    # A pipe that nobody writes to must not hold us up.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            raise _Unknown
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)
