"""One answer for all who ask at the same time.

A page is made once for everybody who was waiting when it began to be made, so that fifty readers
cost little more than one. Nobody gets an answer that is older than their question. Scrapes have an
answer of their own that is shared, with a bound on its age: see `daemon/publishing.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

A = TypeVar("A")

_MOST = 16  # questions whose last answer is kept; a hostile client could ask any number


class Shared(Generic[A]):
    """`make` with a memory for each question; may be called from any thread."""

    def __init__(self, make: Callable[[str], A]) -> None:
        self._make = make
        self._count = threading.Lock()
        self._begun = 0  # answers that were begun, in their order
        self._asked: dict[str, _Question[A]] = {}

    def __call__(self, question: str) -> A:
        with self._count:
            if len(self._asked) >= _MOST and question not in self._asked:
                self._asked.clear()
            place = self._asked.setdefault(question, _Question())
            arrived = self._begun
        with place.lock:
            # Begun after we came: it cannot be older than our question.
            if place.answer is not None and place.began > arrived:
                return place.answer[0]
            with self._count:
                self._begun += 1
                began = self._begun
            made = self._make(question)
            place.began, place.answer = began, (made,)
            return made


class _Question(Generic[A]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.began = 0
        self.answer: tuple[A] | None = None
