"""What is forecast for the attempt that runs, kept up to date cheaply, said when it matters.

Owned by the core, and like it without clock or thread. The forecast is made anew only when
something was learnt: at most once a second, later every five, and of footprints alone the less
often, the more of them there are. It is said when it is first known and whenever the danger grows,
never more often. It acts on nothing: preventing is somebody else's, who reads `forecast` here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from yolowatch.daemon.attempt import Attempt
from yolowatch.daemon.healing import Healing
from yolowatch.decide.forecast_boxes import assignment
from yolowatch.decide.forecast_points import settled_capacity
from yolowatch.decide.learning import key_of, lesson_of
from yolowatch.decide.outlook import foresee
from yolowatch.model import events
from yolowatch.model.actions import Action, CountBoxes, Say
from yolowatch.model.forecast import Forecast, LawKey, Lesson, Outlook
from yolowatch.model.quantity import bytes_text
from yolowatch.model.run import Footprint, RunSpec, RunState

_PAUSE_SECONDS, _LATER_SECONDS, _MANY_FOOTPRINTS = 1.0, 5.0, 64
_PAUSE_PER_FOOTPRINT, _LONGEST_SECONDS = 0.15, 60.0  # after many, a further one teaches little
# From this probability of a failure on it is said; each is said once an attempt.
DANGERS = ((0.5, "is expected not to fit"), (0.1, "may not fit"), (0.0, "is expected to fit"))


class LessonBook(Protocol):
    """Where lessons of earlier runs are found and kept; `run` is whose page it is."""

    run: str

    def lesson(self, key: LawKey) -> Lesson | None:
        """What was learnt of trainings with this key."""

    def learn(self, key: LawKey, lesson: Lesson) -> None:
        """Keep what this training has taught."""


@dataclass(frozen=True)
class _Known:
    """What a forecast is made from, of one moment."""

    footprints: tuple[Footprint, ...]
    spec: RunSpec | None
    capacity_bytes: int | None
    most_boxes: int | None

    def differs_little(self, other: _Known | None) -> bool:
        """Whether only footprints have come since."""
        return other is not None and replace(other, footprints=self.footprints) == self


class Recall:
    """What earlier runs of a kind taught, asked for once a kind."""

    def __init__(self, book: LessonBook) -> None:
        self._book = book
        self._key: LawKey | None = None
        self._lesson: Lesson | None = None

    def of(self, state: RunState) -> Lesson | None:
        """The lesson for the kind that the training is of, or was when that was last known."""
        key = key_of(state)
        if key is not None and key != self._key:
            self._key, self._lesson = key, self._book.lesson(key)
        return self._lesson


class Foreseeing:
    """Of one run. What its data set is belongs to the lessons, which outlive a daemon."""

    def __init__(self, book: LessonBook, healing: Healing) -> None:
        self._book = book
        self._healing = healing
        self._asked: str | None = None  # which data set was looked at
        self._begin(-1)

    @property
    def most_boxes(self) -> int | None:
        """Of the densest image of the data set; None is unknown."""
        return self._healing.lessons.most_boxes

    def take(self, event: events.Event) -> bool:
        """Whether the event was about the data set, and is folded in."""
        if not isinstance(event, events.BoxesCounted):
            return False
        self._healing.lessons = replace(self._healing.lessons, most_boxes=event.most)
        return True

    def _begin(self, attempt: int) -> None:
        self.forecast = Forecast()
        self._attempt = attempt
        self._at: float | None = None
        self._learnt_at = 0.0  # what the forecast is made from
        self._known: _Known | None = None
        self._recall = Recall(self._book)
        self._danger = len(DANGERS)  # index of the worst that was said

    def look(self, attempt: Attempt, at: float) -> list[Action]:
        """Time passes: forecast anew where something was learnt; what is to be said of it."""
        if attempt.number != self._attempt:
            self._begin(attempt.number)
        # A clock that was set back must not silence it.
        learnt = len(self._known.footprints) if self._known is not None else 0
        pause = _PAUSE_SECONDS if learnt < _MANY_FOOTPRINTS else _LATER_SECONDS
        if self._at is not None and 0.0 <= at - self._at < pause:
            return []
        self._at = at
        state = attempt.state()
        fresh = _Known(state.footprints, state.spec, settled_capacity(state), self.most_boxes)
        early = self._is_early(at, learnt)
        if fresh == self._known or (early and fresh.differs_little(self._known)):
            return []
        self._known, self._learnt_at = fresh, at
        lesson = self._recall.of(state)
        self.forecast = foresee(state, lesson=lesson, most_boxes=self.most_boxes)
        return [*self._count(state.spec), *self._say(self.forecast.worst)]

    def _is_early(self, at: float, learnt: int) -> bool:
        """Whether further footprints are not worth a forecast yet."""
        pause = min(_PAUSE_PER_FOOTPRINT * learnt, _LONGEST_SECONDS)
        return 0.0 <= at - self._learnt_at < pause

    def _count(self, spec: RunSpec | None) -> list[Action]:
        """Have the boxes counted, once, where it matters how many there are."""
        data = spec.data if spec is not None else None
        if data is None or not data.startswith("/") or not assignment(spec):
            return []
        if self._asked == data or self.most_boxes is not None:
            return []
        self._asked = data
        return [CountBoxes(self._book.run, data)]

    def ended(self, attempt: Attempt) -> None:
        """What the attempt has taught is kept for the next run of its kind."""
        state = attempt.state()
        key = key_of(state) if attempt.number == 0 else None
        if key is None:
            return
        before = self._book.lesson(key)
        lesson = lesson_of(state, before)
        if lesson is not None and lesson != before:
            self._book.learn(key, lesson)

    def _say(self, worst: Outlook | None) -> list[Action]:
        if worst is None or worst.probability is None:
            return []
        danger = next(i for i, (least, _) in enumerate(DANGERS) if worst.probability >= least)
        if danger >= self._danger:
            return []
        self._danger = danger
        return [Say(sentence(worst))]


def sentence(worst: Outlook) -> str:
    """What is to come, for a person: `worst` has a probability."""
    likely = worst.probability or 0.0
    words = next(words for least, words in DANGERS if likely >= least)
    where = {"backward": "the largest training batch", "optimizer": "the first optimizer step"}
    what = where.get(worst.phase, worst.phase)
    figures = (
        f"{bytes_text(worst.point_bytes)}, in 99 of 100 cases at most "
        f"{bytes_text(worst.bound_bytes)}, of {bytes_text(worst.capacity_bytes)}"
    )
    since = "" if worst.from_step is None else f", from batch {worst.from_step} on"
    return f"forecast: {what} {words} ({figures}; probability {likely:.0%}{since})"
