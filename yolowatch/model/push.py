"""Where metrics are pushed to by OTLP, and how that went: frozen nouns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Otlp:
    """What is configured. Paths are as they were written; the endpoint holds no secret."""

    endpoint: str | None = None  # the whole URL; None: nothing is pushed
    every_seconds: float = 60.0
    headers_file: str | None = None  # what proves who we are
    ca_file: str | None = None  # None: the authorities that this system trusts


@dataclass(frozen=True)
class Pushes:
    """How often it was tried and failed since the supervisor began; None where nothing is pushed.
    `taken_at` is in seconds since 1970 UTC.
    """

    tried: int | None = None
    failed: int | None = None
    taken_at: float | None = None


@dataclass(frozen=True)
class Answer:
    """What came of one push.

    `trouble` says why it was not taken, in the same words for the same cause; `detail` adds what
    the receiver said. `retry_after_seconds` is when the receiver wants to be asked again.
    """

    trouble: str | None = None
    detail: str = ""
    retry_after_seconds: float | None = None
