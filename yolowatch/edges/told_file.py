"""Remembers what people were told of which incident, so that a restart tells nobody twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from yolowatch.edges.files import keep, read_bounded

_MAX_BYTES = 1 << 20


class ToldFile:
    """The file `notified.json` in the state directory."""

    def __init__(self, state_directory: Path) -> None:
        self.path = state_directory / "notified.json"

    def read(self) -> dict[str, str]:
        """Incident -> the standing that was told; nothing where that cannot be read."""
        try:
            body = json.loads(read_bounded(self.path, _MAX_BYTES))
            return {str(name): str(told) for name, told in body.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def keep(self, told: Mapping[str, str]) -> None:
        """Write it down; raises OSError."""
        keep(self.path, json.dumps(dict(told)).encode())
