"""All runs at a glance, and the latest incidents: the page that `/` serves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from yolowatch.model.quantity import bytes_text
from yolowatch.model.standing import standing
from yolowatch.model.story import Headline, Point
from yolowatch.model.view import FleetView, RunView
from yolowatch.pages.incident import moment, tone
from yolowatch.pages.plot import SPARK, Plot, plot
from yolowatch.pages.rendering import rendered

_TONES = {
    "failed": "bad",
    "waiting for approval": "wait",
    "remediating": "wait",
    "training": "good",
    "finished": "good",
}


@dataclass(frozen=True)
class Row:
    run: str
    title: str
    state: str
    tone: str
    what: str
    numbers: tuple[tuple[str, str], ...]
    spark: Plot | None
    sentence: str
    approve: bool


@dataclass(frozen=True)
class ShownHeadline:
    incident: str
    run: str
    sentence: str
    standing: str
    tone: str
    when: str


def runs_page(
    view: FleetView,
    histories: Mapping[str, Sequence[Point]],
    headlines: Iterable[Headline],
    now: float,
    host: str | None = None,
) -> str:
    """The whole page; `now` is seconds since 1970 UTC, `headlines` are the newest first."""
    return rendered(
        "runs.html",
        view=view,
        host=host,
        now=moment(now),
        headline=_headline(view.runs),
        rows=tuple(_row(run, histories.get(run.run, ())) for run in view.runs),
        incidents=tuple(_shown(each) for each in headlines),
    )


def _headline(runs: Sequence[RunView]) -> str:
    waiting = sum(run.state == "waiting for approval" for run in runs)
    failed = sum(run.state == "failed" for run in runs)
    training = sum(run.state in ("training", "starting", "observed only") for run in runs)
    if waiting:
        return "A plan waits for you" if waiting == 1 else f"{waiting} plans wait for you"
    if failed:
        return "A run has failed" if failed == 1 else f"{failed} runs have failed"
    if not training:
        return "Nothing trains at this moment"
    return "One training, all is well" if training == 1 else f"{training} trainings, all is well"


def _row(run: RunView, points: Sequence[Point]) -> Row:
    named = [each for each in (run.trainer, run.model) if each]
    who = [each for each in (run.user, run.run_dir) if each]
    return Row(
        run.run,
        " · ".join(named) or f"run {run.run}",
        f"{run.state}, paused" if run.paused else run.state,
        _TONES.get(run.state, ""),
        " · ".join([f"run {run.run}", *who]),
        tuple(_numbers(run)),
        plot(points, SPARK, capacity_bytes=run.memory.capacity_bytes),
        run.sentence,
        run.plan is not None and not run.paused,
    )


def _numbers(run: RunView) -> Iterator[tuple[str, str]]:
    if run.epoch is not None:
        yield "epoch", f"{run.epoch}/{run.epochs}" if run.epochs is not None else str(run.epoch)
    if run.batch is not None and run.accumulate is not None:
        yield "batch", f"{run.batch} × {run.accumulate}"
    memory = run.memory
    if memory.allocated_bytes is not None:
        of = "" if memory.capacity_bytes is None else f" of {bytes_text(memory.capacity_bytes)}"
        yield "memory", f"{bytes_text(memory.allocated_bytes)}{of}"
    if memory.headroom_bytes is not None:
        yield "headroom", bytes_text(memory.headroom_bytes)
    if run.attempt:
        yield "attempt", str(run.attempt)
    yield "mode", run.mode


def _shown(each: Headline) -> ShownHeadline:
    stands = standing(
        each.outcome,
        each.receipt,
        waiting=each.waiting,
        under_way=each.under_way,
        kind=each.kind,
    )
    return ShownHeadline(
        each.incident, each.run, each.sentence, stands.value, tone(stands), moment(each.opened)
    )
