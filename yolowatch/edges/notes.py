"""Last words that a dying training wrote into its run directory, because no daemon listened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yolowatch.edges import proc
from yolowatch.edges.files import read_bounded
from yolowatch.edges.vault import NAME
from yolowatch.hook import wire
from yolowatch.model.identity import ProcessKey

_decode: Callable[[bytes], tuple[str, Mapping[str, Any]]] = wire.decode


def last_words(run_dir: Path, process: ProcessKey) -> Mapping[str, Any] | None:
    """The fields of this process's last words, checked like every message; None without them."""
    path = run_dir / NAME / f"last-words-{process.pid}"
    began = proc.started_at(process)
    try:
        if began is None or path.stat().st_mtime < began:
            return None  # of an earlier process with this number
        kind, fields = _decode(read_bounded(path, wire.MAX_MESSAGE_BYTES))
    except (OSError, wire.WireError):
        return None
    return fields if kind == "last_words" else None
