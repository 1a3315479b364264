"""Writes the pages of incidents, in a thread of its own: drafts of the loop and the journal in.

What the loop hands over is laid over what was kept before and what the journal knows, so that a
page is whole also when it is written by a daemon that did not see the failure. The loop never waits
for it: where too much is to be told, the oldest drafts are written first and further ones of the
same incident replace each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from yolowatch.daemon.stories import Draft, Overview
from yolowatch.edges.journal_reader import JournalReader
from yolowatch.edges.story_files import StoryFiles
from yolowatch.errors import StateError
from yolowatch.model.story import Headline, Point, StepLine, Story, Subject
from yolowatch.pages.incident import incident_page

_AFTER_SECONDS = 300.0  # of the run that goes on, in the plot of the incident before it
_HEADLINES = 30


class Teller:
    """`tell` never blocks; `work` is the body of the thread."""

    def __init__(
        self, journal: JournalReader, files: StoryFiles, say: Callable[[str], None]
    ) -> None:
        self._journal, self.files, self._say = journal, files, say
        self._drafts: dict[str, Draft] = {}  # the newest of each incident, the oldest first
        self._changed = threading.Condition()
        self._over = False
        self._trouble = False

    def tell(self, draft: Draft) -> None:
        with self._changed:
            self._drafts[draft.incident.id] = draft
            self._changed.notify()

    def stop(self) -> None:
        """End the thread once everything is written."""
        with self._changed:
            self._over = True
            self._changed.notify()

    def work(self) -> None:
        while True:
            with self._changed:
                while not self._drafts and not self._over:
                    self._changed.wait()
                if not self._drafts:
                    return
                draft = self._drafts.pop(next(iter(self._drafts)))
            self._write(draft)

    def story(self, incident: str) -> Story | None:
        """As it was kept, else as far as the journal knows it; raises StateError."""
        return self.files.load(incident) or story_of(self._journal, incident)

    def headlines(self, now: Overview) -> tuple[Headline, ...]:
        """The latest incidents, newest first; raises StateError."""
        return tuple(
            Headline(
                each.id,
                each.run,
                each.kind,
                each.sentence,
                each.opened,
                each.outcome,
                now.receipts.get(each.id),
                each.id in now.waiting,
                each.id in now.under_way,
            )
            for each in self._journal.latest_incidents(_HEADLINES)
        )

    def _write(self, draft: Draft) -> None:
        incident = draft.incident.id
        try:
            known = story_of(self._journal, incident)
        except StateError:
            known = None  # it could not be written either: the loop knows enough
        story = merged(draft, self.files.load(incident), known)
        try:
            self.files.save(story, incident_page(story))
        except OSError as error:
            if not self._trouble:  # said once: it will be so for the next one too
                self._say(f"the page of incident {incident} was not written ({error.strerror})")
            self._trouble = True
        else:
            self._trouble = False


def merged(draft: Draft, kept: Story | None, known: Story | None) -> Story:
    """What the loop says now, over what was kept of the incident, over what the journal knows."""
    view = draft.incident
    base = known or Story(view.id, view.kind, view.sentence, draft.subject, outcome=view.outcome)
    failed = kept.failure if kept is not None and kept.failure is not None else draft.failure
    points = kept.points if kept is not None else ()
    fresh = draft.points
    if points:
        fresh = tuple(each for each in draft.points if each.at > points[-1].at)
    if failed is not None:
        fresh = tuple(each for each in fresh if each.at <= failed.at + _AFTER_SECONDS)
    capacity = kept.capacity_bytes if kept is not None else None
    return replace(
        base,
        subject=_subject(draft.subject, base.subject),
        outcome=view.outcome,
        waiting=draft.waiting,
        under_way=draft.under_way,
        failure=failed,
        capacity_bytes=capacity if capacity is not None else draft.capacity_bytes,
        points=_in_order((*points, *fresh)),
    )


def story_of(journal: JournalReader, incident: str) -> Story | None:
    """An incident as far as the journal knows it: everything but the plot; raises StateError."""
    found = journal.incident(incident)
    if found is None:
        return None
    run = journal.run(found.run)
    bodies = [each.body for each in journal.receipts(run.id)]
    receipts = [body for body in bodies if body["incident"] == incident]
    plans = [each for each in journal.plans(run.id) if each.plan.incident == incident]
    steps = [
        StepLine(step.name, step.state, step.detail, step.at)
        for plan in plans
        for step in plan.steps
    ]
    subject = Subject(
        run.id,
        command=run.command,
        cwd=run.cwd,
        run_dir=run.run_dir,
        trainer=run.trainer,
        mode=run.mode,
    )
    return Story(
        found.id,
        found.kind,
        found.sentence,
        subject,
        found.attempt,
        found.evidence,
        found.opened,
        found.closed,
        found.outcome,
        receipt=receipts[-1] if receipts else None,
        steps=tuple(steps),
    )


def _subject(first: Subject, second: Subject) -> Subject:
    """The first, and of the second what the first does not know."""
    missing = {
        name: getattr(second, name) for name, value in vars(first).items() if value in (None, ())
    }
    return replace(first, **missing)


def _in_order(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """By time: after a reboot the clock begins anew, and nothing of before can be shown with it."""
    kept: list[Point] = []
    for each in points:
        if not kept or each.at >= kept[-1].at:
            kept.append(each)
    return tuple(kept)
