"""Keeps the stories of incidents and their pages, as files that outlive run and daemon.

`ID.html` is for people, whole in itself; `ID.json` is what it was made of. Both are readable by the
service's user alone. The oldest go when there are too many.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from yolowatch.edges import plain
from yolowatch.edges.files import keep, read_bounded, remove
from yolowatch.model.story import Story

MOST = 500
_MAX_BYTES = 4 << 20
_ID = re.compile(r"[0-9a-f]{8}")


class StoryFiles:
    """The folder `incidents` of a state directory."""

    def __init__(self, state_directory: Path) -> None:
        self.folder = state_directory / "incidents"

    def page_of(self, incident: str) -> Path:
        """Where its page is kept, whether or not there is one."""
        return self.folder / f"{incident}.html"

    def load(self, incident: str) -> Story | None:
        """The story that was kept; None where there is none that can be read."""
        if _ID.fullmatch(incident) is None:
            return None
        try:
            text = read_bounded(self.folder / f"{incident}.json", _MAX_BYTES).decode()
            return plain.from_json(Story, text)
        except (OSError, ValueError):
            return None

    def save(self, story: Story, page: str) -> None:
        """Keep both, each whole or not at all; raises OSError."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for path, text in (
            (self.folder / f"{story.incident}.json", plain.to_json(story)),
            (self.page_of(story.incident), page),
        ):
            keep(path, text.encode("utf-8", "backslashreplace"))
        self._tidy()

    def _tidy(self) -> None:
        pages = [each for each in os.scandir(self.folder) if each.name.endswith(".html")]
        if len(pages) <= MOST:
            return
        pages.sort(key=lambda each: each.stat().st_mtime_ns)
        for each in pages[: len(pages) - MOST]:
            for path in (Path(each.path), Path(each.path).with_suffix(".json")):
                remove(path)
