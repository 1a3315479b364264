"""What the core foresees of a training that runs: said once, made anew only when it learns."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

from tests.daemon.scenes import Scene
from tests.decide.build import GIB, linear_footprints
from yolowatch.daemon.records import Records
from yolowatch.edges.journal import MOST_LESSONS, Journal
from yolowatch.model import events
from yolowatch.model.actions import CountBoxes
from yolowatch.model.forecast import LawKey, Lesson

SPEC: dict[str, Any] = {
    "image_size_min": 320,
    "image_size_max": 960,
    "model": "/networks/yolo11n.yaml",
    "classes": 80,
    "gpu": "A GPU",
}
SIDES = (320, 640, 480, 640, 320, 640)


def trained(folder: Path, capacity: int = 24 * GIB, sides: tuple[int, ...] = SIDES) -> Scene:
    """A training after some batches, whose largest size is still to come: about 36 GiB."""
    scene = Scene(folder, **SPEC)
    scene.start()
    scene.tell("hello", pid=10, python="3.12.0", torch="2.15.0")
    scene.describe()
    scene.tell(
        "sample",
        phase="forward",
        step=6,
        allocated_bytes=2 * GIB,
        peak_bytes=18 * GIB,
        capacity_bytes=capacity,
    )
    prints = linear_footprints(2 * GIB, 2500.0, [(16, side) for side in sides])
    scene.tell("footprints", items=[list(astuple(each)) for each in prints])
    return scene


def test_a_failure_to_come_is_said_once(tmp_path: Path) -> None:
    scene = trained(tmp_path)
    scene.wait(1.0)
    said = [each for each in scene.said if each.startswith("forecast:")]
    assert len(said) == 1
    assert "the largest training batch is expected not to fit" in said[0]
    assert "of 24.0 GiB" in said[0]
    scene.wait(5.0)
    assert [each for each in scene.said if each.startswith("forecast:")] == said


def test_it_is_made_anew_when_something_is_learnt(tmp_path: Path) -> None:
    scene = trained(tmp_path)
    scene.wait(1.0)
    first = scene.core.foreseeing.forecast
    scene.wait(1.0)
    assert scene.core.foreseeing.forecast is first
    more = linear_footprints(2 * GIB, 2600.0, [(16, 960)])
    scene.tell("footprints", items=[list(astuple(each)) for each in more])
    scene.wait(0.5)
    assert scene.core.foreseeing.forecast is first  # at most once a second
    scene.wait(0.5)
    assert scene.core.foreseeing.forecast is not first


def test_a_clock_that_is_set_back_silences_nothing(tmp_path: Path) -> None:
    scene = trained(tmp_path)
    scene.wait(-50.0)
    assert scene.core.foreseeing.forecast.worst is not None
    scene.tell("footprints", items=[["backward", 16, 960, 960, 50, 2 * GIB, 39 * GIB, True, 0]])
    before = scene.core.foreseeing.forecast
    scene.wait(-50.0)
    assert scene.core.foreseeing.forecast is not before


def test_a_run_teaches_the_next_of_its_kind(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    first = trained(tmp_path / "first")
    first.tell("bye", finished=True)
    first.exit(0)
    first.gone()
    first.journal.close()
    (tmp_path / "first" / "journal.sqlite").rename(tmp_path / "journal.sqlite")
    second = trained(tmp_path, sides=(320,))
    second.wait(1.0)
    forecast = second.core.foreseeing.forecast
    assert any("an earlier run of this kind" in note for note in forecast.notes)
    assert forecast.worst is not None
    assert forecast.worst.probability is not None
    assert forecast.worst.probability > 0.9  # after one batch of the smallest size


def test_lessons_are_an_owners_own_and_not_too_many(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        for number in range(MOST_LESSONS + 3):
            journal.write_lesson(f"kind {number}", "{}")
        assert journal.lesson("kind 0") is None
        assert journal.lesson(f"kind {MOST_LESSONS}") == "{}"
        records = Records.begin(journal, ("yolo",), "/work", "auto", None, lambda _text: None)
        kind = LawKey("ultralytics", "n.yaml", 80, "SGD", "fp32", 640, "2.15", "cpu", 1000)
        records.owner = 1000
        records.learn(kind, Lesson(2500.0))
        assert records.lesson(kind) == Lesson(2500.0)
        records.owner = 1001
        assert records.lesson(kind) is None


def test_the_boxes_of_the_data_set_are_counted_once(tmp_path: Path) -> None:
    scene = trained(tmp_path)
    scene.describe(data="/data/data.yaml")
    scene.wait(1.0)
    assert scene.of(CountBoxes) == [CountBoxes(scene.run, "/data/data.yaml")]
    before = scene.core.foreseeing.forecast.worst
    scene.step(events.BoxesCounted(scene.run, 900, scene.at))
    scene.wait(1.0)
    after = scene.core.foreseeing.forecast.worst
    assert before is not None
    assert after is not None
    assert (after.point_bytes or 0) > (before.point_bytes or 0)
    assert len(scene.of(CountBoxes)) == 1
    # The planner of a failure knows it, too, and so does a successor of this daemon.
    memento = scene.core.remember()
    assert memento is not None
    assert memento.healing.lessons.most_boxes == 900


def test_a_data_set_that_is_named_otherwise_is_not_looked_for(tmp_path: Path) -> None:
    scene = trained(tmp_path)
    scene.describe(data="coco8.yaml")
    scene.wait(1.0)
    assert scene.of(CountBoxes) == []
