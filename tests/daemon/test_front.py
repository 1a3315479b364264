"""What stands between the loop and people never ends the loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tests.daemon.scenes import Scene
from yolowatch.daemon.front import Front, only_run
from yolowatch.daemon.member import Member
from yolowatch.edges.clock import SystemClock
from yolowatch.model import events
from yolowatch.model.plan import Policy


def broken() -> Mapping[str, Member]:
    raise ZeroDivisionError


def test_what_fails_in_what_is_shown_is_said_once_and_the_loop_goes_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.start()
    failures: list[tuple[str, str]] = []

    def failed(name: str, trace: str) -> None:
        failures.append((name, trace))

    shown = replace(only_run(scene.core, scene.records, ("train",), Policy()), members=broken)
    with Front(tmp_path, scene.journal, SystemClock(), print, failed, shown) as front:
        for at in (1.0, 2.0, 3.0):
            front.turned(events.Tick(at))
    ((name, trace),) = failures
    assert name == "pages"
    assert "ZeroDivisionError" in trace
