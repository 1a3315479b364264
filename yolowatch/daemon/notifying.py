"""Has people told of incidents: the loop's half, which decides, and the thread's, which sends.

What is configured is asked anew each time, so that a changed configuration counts from the next
message on. Where no URL is configured nothing is kept, no thread is started and Apprise is never
imported.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from yolowatch.daemon import threads
from yolowatch.daemon.stories import Draft
from yolowatch.decide.notices import Desk, due, heard
from yolowatch.edges.clock import Clock
from yolowatch.edges.notify import Notifier
from yolowatch.edges.told_file import ToldFile
from yolowatch.model.notifications import Message, Notifications, Situation
from yolowatch.model.standing import reason, severity, standing
from yolowatch.model.verdict import Severity

_MOST_TOLD = 1000


class Notifying:
    """`changed` and `turn` are called by the loop only."""

    def __init__(
        self,
        state_directory: Path,
        wanted: Callable[[], Notifications],
        clock: Clock,
        say: Callable[[str], None],
        failed: Callable[[str, str], None],
    ) -> None:
        self._wanted, self._clock, self._say, self._failed = wanted, clock, say, failed
        self._file = ToldFile(state_directory)
        self._told = self._file.read()
        self._desk = Desk(told=dict(self._told))
        self._notifier = Notifier(clock, say, self._delivered)
        self._started = False

    def changed(self, draft: Draft) -> None:
        """An incident is new, or stands otherwise."""
        wanted = self._wanted()
        if wanted.urls:
            now = self._clock.monotonic()
            self._desk = heard(self._desk, _situation(draft), now, wanted)

    def turn(self) -> None:
        """Send what is due."""
        if not self._desk.waiting:
            return
        wanted = self._wanted()
        self._desk, message = due(self._desk, self._clock.monotonic(), wanted)
        if message is None or not wanted.urls:
            return
        if not self._started:
            self._started = True
            threads.start("notify", self._notifier.work, self._failed)
        self._notifier.send(message, wanted.urls)

    def close(self) -> None:
        """End the thread."""
        self._notifier.stop()

    def _delivered(self, message: Message) -> None:
        """By the thread: one target at least has it."""
        self._told = dict(list({**self._told, **dict(message.told)}.items())[-_MOST_TOLD:])
        try:
            self._file.keep(self._told)
        except OSError as error:
            self._say(f"{self._file.path} cannot be written ({error.strerror})")


def _situation(draft: Draft) -> Situation:
    view, subject = draft.incident, draft.subject
    stands = standing(
        view.outcome,
        draft.receipt_outcome,
        waiting=draft.waiting is not None,
        under_way=draft.under_way,
        kind=view.kind,
    )
    why = draft.waiting.reason if draft.waiting is not None else reason(view.outcome)
    return Situation(
        view.id,
        subject.run,
        view.sentence,
        stands,
        why,
        subject.host,
        subject.user,
        subject.model,
        subject.run_dir,
        severity(view.kind) is Severity.INFO,
    )
