"""Reads the configuration's files: the one that was named, then the drop-ins beside it."""

from __future__ import annotations

import os
from pathlib import Path

from yolowatch.edges.files import read_bounded
from yolowatch.errors import ConfigError

DROP_INS = "conf.d"
MAX_BYTES = 1 << 20
_MAX_DROP_INS = 256

Documents = tuple[tuple[str, str], ...]
"""Names and texts, in the order in which they count: a later one wins."""


def read_documents(path: Path) -> Documents:
    """The file and, by their names' order, `conf.d/*.yaml` beside it; raises ConfigError."""
    return tuple((str(each), _text(each)) for each in (path, *drop_ins(path)))


def drop_ins(path: Path) -> tuple[Path, ...]:
    """The drop-ins of a configuration file; hidden files, which editors leave, are none."""
    directory = path.parent / DROP_INS
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise ConfigError(f"{directory} cannot be read: {error.strerror}.") from None
    found = sorted(name for name in names if name.endswith(".yaml") and name[0] != ".")
    if len(found) > _MAX_DROP_INS:
        raise ConfigError(f"{directory} holds more than {_MAX_DROP_INS} files: merge some.")
    return tuple(directory / name for name in found)


def _text(path: Path) -> str:
    try:
        return read_bounded(path, MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        # A FileRefused has no `strerror`, but a sentence that names the file.
        reason = getattr(error, "strerror", None) or "it is no regular UTF-8 text below 1 MiB"
        raise ConfigError(f"{path} cannot be read: {reason}.") from None
