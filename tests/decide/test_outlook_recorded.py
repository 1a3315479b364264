"""The outlook of recorded real trainings, after 50 batches, against what they took in the end.

`bench/forecast.py` recorded them on a CPU and measures with all of its trainings; these few hold
the forecast to what it says: bytes of growth over what was in use before the first batch.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from yolowatch.decide.outlook import foresee
from yolowatch.model.run import Footprint, Memory, Place, RunSpec, RunState

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("grown.json").read_text())


def foreseen(name: str) -> tuple[int, int, int]:
    """(point, bound, what was taken in the end), in bytes of growth."""
    run = RECORDED[name]
    state = RunState(
        attempt=0,
        spec=RunSpec(**run["spec"]),
        place=Place(step=run["step"]),
        memory=Memory(peak_bytes=run["process_peak"]),
        footprints=tuple(Footprint(*each) for each in run["footprints"]),
        messages=1,
    )
    forecast = foresee(state)
    looked = [*forecast.outlooks, *([forecast.later] if forecast.later else [])]
    point = max(each.point_bytes or 0 for each in looked)
    bound = max(each.bound_bytes or 0 for each in looked)
    return point - run["base"], bound - run["base"], run["taken"] - run["base"]


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_training_takes_no_more_than_the_bound(name: str) -> None:
    point, bound, taken = foreseen(name)
    assert abs(point - taken) <= 0.11 * taken
    assert taken <= bound


def test_recorded_trainings_are_forecast_closely_and_not_too_cautiously() -> None:
    found = [foreseen(name) for name in RECORDED]
    assert median(abs(point - taken) / taken for point, _, taken in found) <= 0.03
    assert median(bound / point for point, bound, _ in found) <= 1.1
