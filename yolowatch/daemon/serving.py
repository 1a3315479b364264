"""What the HTTP door shows people: the runs at a glance, and each incident's page.

Called by the threads of the HTTP server. What the loop knows is read from its last overview, what
was kept from the files; nothing here asks the loop for anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from yolowatch.daemon.stories import Overview
from yolowatch.daemon.telling import Teller
from yolowatch.edges.clock import Clock
from yolowatch.edges.http_routes import Page
from yolowatch.pages.glance import runs_page
from yolowatch.pages.incident import incident_page
from yolowatch.pages.rendering import POLICY

_INCIDENTS = "/incidents/"


class Serving:
    """The page of a path, or None."""

    def __init__(self, overview: Callable[[], Overview], teller: Teller, clock: Clock) -> None:
        self._overview, self._teller, self._clock = overview, teller, clock

    def __call__(self, path: str) -> Page | None:
        if path == "/":
            return self._runs()
        if path.startswith(_INCIDENTS):
            story = self._teller.story(path.removeprefix(_INCIDENTS))
            return None if story is None else _page(incident_page(story, home="../"))
        return None

    def _runs(self) -> Page:
        seen = self._overview()
        headlines = self._teller.headlines(seen)
        return _page(
            runs_page(seen.view, seen.histories, headlines, self._clock.wall(), host_name())
        )


def host_name() -> str:
    """This machine's, as people call it."""
    return os.uname().nodename


def _page(text: str) -> Page:
    return Page(text.encode("utf-8", "backslashreplace"), POLICY)
