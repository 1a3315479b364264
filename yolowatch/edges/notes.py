"""What a training wrote into its run directory at its end, because no daemon listened."""

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


_KINDS = ("last_words", "bye")


def last_message(run_dir: Path, process: ProcessKey) -> tuple[str, Mapping[str, Any]] | None:
    """Kind and fields of this process's last message, checked like every one; None without it."""
    path = run_dir / NAME / f"last-words-{process.pid}"
    began = proc.started_at(process)
    try:
        if began is None or path.stat().st_mtime < began:
            return None  # of an earlier process with this number
        kind, fields = _decode(read_bounded(path, wire.MAX_MESSAGE_BYTES))
    except (OSError, wire.WireError):
        return None
    return (kind, fields) if kind in _KINDS else None
