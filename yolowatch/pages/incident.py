"""The page of one incident, from its story.

What a template cannot say well is worked out here: figures, sentences, the order of things. Nothing
is judged anew: every statement comes from the story.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from yolowatch import __version__
from yolowatch.model.discreet import discreet_command
from yolowatch.model.quantity import bytes_text, seconds_text
from yolowatch.model.standing import Standing, reason, standing
from yolowatch.model.story import Failure, Story
from yolowatch.pages.plot import NARROW, WIDE, plot
from yolowatch.pages.rendering import rendered

_LEADS = {
    Standing.UNDER_WAY: "The plan is being carried out; this page changes when it is done.",
    Standing.TRAINING: "The run was resumed and trains again. Nothing needs to be done.",
    Standing.HEALED: "The run was resumed and went to its end. Nothing needs to be done.",
    Standing.PREVENTED: "It was changed while it ran, before memory could run out.",
    Standing.RESCUED: "The process survived and trains on, with what was changed below.",
    Standing.WAITING: "There is a plan, and nothing was touched yet.",
    Standing.RECOMMENDED: "There is a plan, and nothing was touched: the mode is recommend.",
    Standing.REFUSED: "Nothing was restarted: the training has ended with its own exit status.",
    Standing.FAILED: "What was changed for this incident was not enough.",
    Standing.FOLLOWED: "What was changed was not enough; the next incident of this run goes on.",
    Standing.ABANDONED: "The plan was given up before the training was started again.",
    Standing.WATCHED: "The training goes on; this is watched, and nothing was changed for it.",
    Standing.ALARM: "Nothing answers this by itself: a person should look.",
    Standing.PASSED: "It has passed by itself; nothing was changed for it.",
    Standing.OBSERVED: "Nothing was done about it: this run is only observed.",
}
_NEXT = {
    Standing.REFUSED: "Free memory, or allow a lever that would help (yolowatch levers), and "
    "start the training again: it resumes from its last checkpoint.",
    Standing.FAILED: "Look at the evidence below, change the configuration by hand, and resume "
    "from the last checkpoint.",
    Standing.ABANDONED: "Start the training again by hand; its files are as they were.",
    Standing.RECOMMENDED: "Start it again with the changes above, or with --mode auto.",
}
_SHORT = 60  # characters of a fact that stands beside others
_IN_BETWEEN = (
    Standing.WAITING,
    Standing.RECOMMENDED,
    Standing.UNDER_WAY,
    Standing.WATCHED,
)
_MOMENTS = {
    Standing.PREVENTED: "Foreseen",
    Standing.WATCHED: "Seen",
    Standing.ALARM: "Seen",
    Standing.PASSED: "Seen",
}
_KINDS = {
    "cuda-oom": "CUDA memory",
    "cpu-oom": "CPU memory",
    "host-oom": "host memory",
    "handled-oom": "memory, handled by the program",
}
COST_WORDS = {
    "free": "costs the result nothing",
    "compensated": "compensated",
    "alters-result": "alters the result",
}


@dataclass(frozen=True)
class Figure:
    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Line:
    kind: str
    text: str


@dataclass(frozen=True)
class Diff:
    path: str
    before: str
    after: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class ShownStep:
    time: str
    name: str
    state: str
    detail: str


def incident_page(story: Story, *, home: str | None = None) -> str:
    """The whole page; `home` is where all runs are shown, None in a file that is kept."""
    receipt, failure = story.receipt, story.failure
    stands = stand(story)
    predicted = receipt["plan"]["predicted_peak_bytes"] if receipt is not None else None
    wide, narrow = (
        plot(
            story.points,
            frame,
            failure=failure,
            capacity_bytes=story.capacity_bytes,
            predicted_bytes=predicted,
        )
        for frame in (WIDE, NARROW)
    )
    return rendered(
        "incident.html",
        story=story,
        home=home,
        standing=stands,
        tone=tone(stands),
        lead=_LEADS[stands],
        why=reason(story.outcome),
        next_step=_NEXT.get(stands),
        figures=tuple(_figures(story)),
        wide=wide,
        narrow=narrow,
        quoted=tuple(each for each in story.evidence if len(each) > _SHORT),
        short=tuple(each for each in story.evidence if len(each) <= _SHORT),
        later=wide is not None and any(each.later for each in wide.curves),
        costs_words=COST_WORDS,
        costs=tuple(_costs(receipt["costs"], receipt["resume"])) if receipt is not None else (),
        diffs=tuple(_diffs(receipt)) if receipt is not None else (),
        steps=tuple(_steps(story)),
        about=tuple(_about(story)),
        version=__version__,
    )


def stand(story: Story) -> Standing:
    """Where this incident stands."""
    told = story.receipt["outcome"] if story.receipt is not None else None
    return standing(
        story.outcome,
        told,
        waiting=story.waiting is not None,
        under_way=story.under_way,
        kind=story.kind,
    )


def tone(stands: Standing) -> str:
    """The colour of a standing: good, wait, bad or none."""
    if stands.is_good:
        return "good"
    if stands in _IN_BETWEEN:
        return "wait"
    return "bad" if stands.needs_person else ""


def moment(at: float | None) -> str:
    """A time as a person reads it, in UTC; "unknown" for None."""
    if at is None:
        return "unknown"
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _figures(story: Story) -> Iterator[Figure]:
    receipt, failure = story.receipt, story.failure
    date, _, clock = moment(story.opened).partition(" ")
    notes = [each for each in (date, _where(failure)) if each]
    happened = _MOMENTS.get(stand(story), "Failed")
    yield Figure(happened, clock or date, " · ".join(notes))
    held = failure.allocated_bytes if failure is not None else None
    if held is None and receipt is not None:
        held = receipt["failed_peak_bytes"]
    notes = []
    if story.capacity_bytes is not None:
        notes.append(f"of {bytes_text(story.capacity_bytes)}")
    if failure is not None and failure.requested_bytes is not None:
        notes.append(f"and asked for {bytes_text(failure.requested_bytes)}")
    yield Figure("Memory held", bytes_text(held), " ".join(notes))
    if receipt is None:
        yield Figure("Attempt", "your own" if story.attempt == 0 else f"number {story.attempt}")
        yield Figure("Kind", _KINDS.get(story.kind, story.kind.replace("-", " ")))
        return
    yield _batch(receipt)
    costs = receipt["costs"]
    again = costs["steps_lost"]
    yield Figure(
        "Cost",
        "not known yet" if costs["seconds_lost"] is None else seconds_text(costs["seconds_lost"]),
        "" if again is None else f"{again} {'step' if again == 1 else 'steps'} to do again",
    )


def _where(failure: Failure | None) -> str:
    if failure is None:
        return ""
    parts = []
    if failure.epoch is not None and failure.epoch >= 0:
        parts.append(f"epoch {failure.epoch + 1}")
    if failure.phase is not None:
        parts.append(failure.phase)
    return ", ".join(parts)


def _batch(receipt: Mapping[str, Any]) -> Figure:
    user, plan = receipt["user"], receipt["plan"]
    effective, batch = plan["effective_batch"], plan["edits"]["batch"]
    if effective is None:
        return Figure("Effective batch", "unchanged")
    note = "batch × accumulation, unchanged"
    if batch and user["batch"] and user["accumulate"] and batch != user["batch"]:
        note = f"{user['batch']} × {user['accumulate']} → {batch} × {effective // batch}"
    return Figure("Effective batch", f"{effective}, as before", note)


def _costs(costs: Mapping[str, Any], resume: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    began = resume["start"].replace("-", " ")
    if resume["start"] == "resume" and resume["epoch"] is not None:
        began = f"from the checkpoint of epoch {resume['epoch'] + 1}"
    yield "Went on", f"{began}: {resume['reason']}" if resume["reason"] else began
    yield "Epochs kept", str(costs["epochs_kept"])
    steps = costs["steps_lost"]
    yield "Training steps to do again", "unknown" if steps is None else str(steps)
    names = (
        ("seconds_lost", "Time lost in all"),
        ("repeat_seconds", "of it work since the last checkpoint"),
        ("exit_seconds", "until the failed process was gone"),
        ("memory_wait_seconds", "until its memory was back"),
        ("restart_seconds", "to start again"),
    )
    for key, name in names:
        if costs[key] is not None:
            yield name, seconds_text(costs[key])


def _diffs(receipt: Mapping[str, Any]) -> Iterator[Diff]:
    for file in receipt["files"]:
        lines = (file.get("diff") or "").splitlines()  # receipts of earlier versions have none
        before, after = ((file[key] or "absent")[:12] for key in ("before", "after"))
        yield Diff(file["path"], before, after, tuple(map(_line, lines)))


def _line(text: str) -> Line:
    kinds = {"+": "add", "-": "del", "@": "hunk", "…": "hunk"}
    return Line(kinds.get(text[:1], "same"), text or " ")


def _steps(story: Story) -> Iterator[ShownStep]:
    """What was done and what failed; of an intent only the last, if nothing came of it."""
    for number, step in enumerate(story.steps):
        if step.state == "intent" and number < len(story.steps) - 1:
            continue
        clock = datetime.fromtimestamp(step.at, timezone.utc).strftime("%H:%M:%S")
        detail = step.detail or {"intent": "under way", "done": "done"}.get(step.state, "")
        yield ShownStep(clock, step.name, step.state, detail)


def _about(story: Story) -> Iterator[tuple[str, str]]:
    subject = story.subject
    command = " ".join(map(shlex.quote, discreet_command(subject.command))) or None
    told = (
        ("Run directory", subject.run_dir),
        ("Command", command),
        ("Started in", subject.cwd),
        ("User", subject.user),
        ("Host", subject.host),
        ("Trainer", subject.trainer),
        ("Model", subject.model),
        ("Data", subject.data),
        ("Device", subject.device),
        ("Mode", subject.mode),
    )
    for name, value in told:
        if value:
            yield name, value
