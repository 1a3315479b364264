"""What the HTTP door answers to which path: from callables, which know what it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

Metrics = Callable[[str], tuple[str, bytes]]
"""Content type and body for an Accept header, which may be empty."""


@dataclass(frozen=True)
class Page:
    """A document for a browser, with the policy that it is to be shown under."""

    body: bytes
    policy: str
    content_type: str = "text/html; charset=utf-8"


Pages = Callable[[str], Page | None]
"""The page of a path; None where there is none."""

PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Routes:
    metrics: Metrics
    healthy: Callable[[], bool]
    ready: Callable[[], bool]
    pages: Pages

    def answer(self, path: str, accept: str) -> tuple[HTTPStatus, Page]:
        if path == "/metrics":
            content_type, body = self.metrics(accept)
            return HTTPStatus.OK, Page(body, "", content_type)
        if path == "/-/healthy":
            return _said(self.healthy(), "healthy")
        if path == "/-/ready":
            return _said(self.ready(), "ready")
        page = self.pages(path)
        if page is not None:
            return HTTPStatus.OK, page
        if path == "/":
            return HTTPStatus.OK, plain("yolowatch: see /metrics, /-/healthy and /-/ready")
        return HTTPStatus.NOT_FOUND, plain("not found")


def plain(text: str) -> Page:
    return Page(f"{text}\n".encode(), "", PLAIN)


def _said(is_so: bool, word: str) -> tuple[HTTPStatus, Page]:
    if is_so:
        return HTTPStatus.OK, plain(word)
    return HTTPStatus.SERVICE_UNAVAILABLE, plain(f"not {word}")
