"""Recorded trainings, told again to the product's own fold and forecast up to a certain batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from statistics import median
from typing import Any

from yolowatch.decide.outlook import foresee
from yolowatch.model.fold import fold
from yolowatch.model.run import RunState


@dataclass(frozen=True)
class Row:
    """One forecast: bytes of growth over what was in use before the first batch.

    `seen` is the growth so far, `point` and `bound` what was forecast, `taken` what it became.
    """

    name: str
    trainer: str
    after: int
    seen: int
    point: int
    bound: int
    taken: int

    @property
    def error(self) -> float:
        """Of the point, as a part of what was taken."""
        return abs(self.point - self.taken) / self.taken

    @property
    def to_come(self) -> bool:
        """Whether more was still to come than the noise of what was seen."""
        return self.taken > 1.01 * self.seen

    @property
    def exceeded(self) -> bool:
        return self.taken > self.bound

    @property
    def caution(self) -> float:
        """By which part of it the bound lies above the point."""
        return self.bound / self.point - 1.0


def told_until(messages: Sequence[Sequence[Any]], at: float) -> RunState:
    """What the daemon knew of a training at this moment."""
    state = RunState(0)
    for when, kind, fields in messages:
        if when <= at:
            state = fold(state, kind, fields, when)
    return state


def rows(name: str, run: Mapping[str, Any]) -> list[Row]:
    """The forecasts of one training, one for each batch after which it was asked."""
    kernel, found = run["kernel"], []
    base = kernel["base"]
    for after, mark in kernel["marks"].items():
        forecast = foresee(told_until(run["messages"], mark["at"]))
        looked = [*forecast.outlooks, *([forecast.later] if forecast.later else [])]
        points = [each.point_bytes for each in looked if each.point_bytes is not None]
        bounds = [each.bound_bytes for each in looked if each.bound_bytes is not None]
        if points and bounds:
            found.append(
                Row(
                    name,
                    run["shape"]["trainer"],
                    int(after),
                    mark["peak"] - base,
                    max(points) - base,
                    max(bounds) - base,
                    kernel["peak"] - base,
                )
            )
    return found


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """What is said of a set of forecasts."""
    return {
        "forecasts": len(rows),
        "median_error": median(each.error for each in rows),
        "largest_error": max(each.error for each in rows),
        "exceeded": sum(each.exceeded for each in rows),
        "median_caution": median(each.caution for each in rows),
    }


def corpus(runs: Mapping[str, Mapping[str, Any]], after: int) -> dict[str, Any]:
    """What the hook had said by this batch, small enough to be kept with the tests."""
    kept = {}
    for name, run in runs.items():
        mark = run["kernel"]["marks"].get(str(after))
        if mark is None:
            continue
        state = told_until(run["messages"], mark["at"])
        spec = {k: v for k, v in vars(state.spec).items() if v is not None} if state.spec else {}
        for hidden in ("run_dir", "data", "model"):  # paths of the machine that trained
            spec.pop(hidden, None)
        kept[name] = {
            "spec": spec,
            "footprints": [list(astuple(each)) for each in state.footprints],
            "process_peak": state.memory.peak_bytes,
            "step": state.place.step,
            "base": run["kernel"]["base"],
            "taken": run["kernel"]["peak"],
        }
    return kept
