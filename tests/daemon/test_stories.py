"""What the loop keeps and hands on for pages, and whether it turns: no thread, a real journal."""

from __future__ import annotations

import http.client
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.parts import FakeClock
from tests.daemon.scenes import Scene
from tests.decide import build
from tests.pages.stories import Told, healed_story
from yolowatch.daemon.history import History, failure
from yolowatch.daemon.pulse import STALLED_SECONDS, Pulse
from yolowatch.daemon.stories import Draft
from yolowatch.daemon.telling import Teller, merged, story_of
from yolowatch.edges.http import Address, HttpServer
from yolowatch.edges.story_files import MOST, StoryFiles
from yolowatch.model.run import Memory, Place, RunState, Sample
from yolowatch.model.story import Point, Story, Subject
from yolowatch.model.view import IncidentView

GIB = 1 << 30


def sample(at: float, most: int | None = 2, held: int | None = 1) -> Sample:
    memory = Memory(allocated_bytes=held, reserved_bytes=3, capacity_bytes=9)
    return Sample(at, Place("forward", 0, 1), memory, allocated_max_bytes=most)


# ---------------------------------------------------------------- the last minutes


def test_a_point_every_two_seconds_holds_the_peak_between() -> None:
    history = History()
    samples: tuple[Sample, ...] = ()
    for tenth in range(400):
        most = 99 if tenth == 137 else 5
        samples = (*samples, sample(tenth / 10, most))[-120:]
        history.look(RunState(0, samples=samples))
    points = history.points()
    assert len(points) == 20
    assert max(each.peak_bytes or 0 for each in points) == 99
    gaps = {later.at - earlier.at for earlier, later in itertools.pairwise(points)}
    assert gaps == {2.0}


def test_the_memory_of_a_run_is_bounded() -> None:
    history = History()
    for second in range(5000):
        history.look(RunState(0, samples=(sample(float(second)),)))
    assert len(history.points()) == 300


def test_a_run_that_says_nothing_has_no_points_and_unknown_stays_unknown() -> None:
    history = History()
    history.look(RunState(0))
    assert history.points() == ()
    history.look(RunState(0, samples=(sample(1.0, None, None),)))
    (point,) = history.points()
    assert (point.allocated_bytes, point.peak_bytes) == (None, None)


def test_a_clock_that_begins_anew_is_followed() -> None:
    history = History()
    history.look(RunState(0, samples=(sample(90_000.0),)))
    history.look(RunState(0, samples=(sample(5.0),)))
    assert [each.at for each in history.points()] == [90_000.0, 5.0]


def test_the_last_seconds_are_shown_window_by_window() -> None:
    history = History()
    samples = tuple(sample(tenth / 10) for tenth in range(100))
    history.look(RunState(0, samples=samples[:50]))
    shown = history.with_end(RunState(0, samples=samples[40:]))
    assert [each.at for each in shown[-60:]] == [each.at for each in samples[40:]]


def test_the_moment_of_the_failure() -> None:
    assert failure(RunState(0)) is None
    words = build.failed()
    told = failure(RunState(0, last_words=words))
    assert told is not None
    assert (told.at, told.requested_bytes) == (words.at, words.requested_bytes)


# ---------------------------------------------------------------- drafts


def test_an_incident_is_told_when_it_stands_otherwise_and_only_then(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.scene.start()
    told.scene.train()
    told.train(30)
    assert told.drafts == []
    told.scene.run_out_of_memory()
    for _ in range(5):
        told.look()
    assert len(told.drafts) == 1
    first = told.drafts[0]
    assert first.failure is not None
    assert first.failure.requested_bytes == 2 * GIB
    assert len(first.points) >= 30
    told.healed()
    outcomes = [each.receipt_outcome for each in told.drafts]
    assert outcomes == [None, "resumed"]
    told.train(5, 2)
    assert told.drafts[-1].receipt_outcome == "training again"
    before = len(told.drafts)
    told.train(100, 2)
    assert len(told.drafts) == before + 1  # once more, with the curve of the restarted run


def test_a_story_has_the_curve_before_and_after(tmp_path: Path) -> None:
    story = healed_story(tmp_path)
    assert story.failure is not None
    attempts = {each.attempt for each in story.points}
    assert attempts == {0, 1}
    assert story.points == tuple(sorted(story.points, key=lambda each: each.at))
    assert story.receipt is not None
    assert [each.name for each in story.steps if each.state == "done"][-1] == "relaunch"
    assert story.subject.host == "gpu-box-07"
    assert story.opened is not None


def test_a_daemon_that_did_not_see_the_failure_keeps_what_was_kept(tmp_path: Path) -> None:
    story = healed_story(tmp_path)
    view = IncidentView(story.incident, story.kind, story.sentence, "healed")
    late = Draft(view, Subject(story.subject.run), "finished")
    found = merged(late, story, replace(story, points=(), failure=None, capacity_bytes=None))
    assert (found.points, found.failure) == (story.points, story.failure)
    assert found.capacity_bytes == story.capacity_bytes
    assert found.outcome == "healed"
    assert found.subject.model == story.subject.model


def test_after_a_reboot_nothing_is_drawn_with_another_clock(tmp_path: Path) -> None:
    view = IncidentView("0badcafe", "cuda-oom", "It ran out.")
    kept = Story("0badcafe", "cuda-oom", "", Subject("r"), points=(Point(9000.0, 0, 1),))
    late = Draft(view, Subject("r"), points=(Point(5.0, 1, 1), Point(9001.0, 1, 1)))
    assert [each.at for each in merged(late, kept, None).points] == [9000.0, 9001.0]


# ---------------------------------------------------------------- pages on disk


def refused(tmp_path: Path) -> tuple[Scene, Teller, list[str]]:
    scene, said = Scene(tmp_path), list[str]()
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    return scene, Teller(scene.journal, StoryFiles(tmp_path), said.append), said


def draft_of(scene: Scene) -> Draft:
    incident = scene.incidents()[0]
    return Draft(IncidentView(incident.id, incident.kind, incident.sentence), Subject(scene.run))


def test_pages_are_written_and_what_waits_is_the_newest(tmp_path: Path) -> None:
    scene, teller, said = refused(tmp_path)
    draft = draft_of(scene)
    teller.tell(draft)
    teller.tell(replace(draft, incident=replace(draft.incident, outcome="refused: no room")))
    teller.stop()
    teller.work()
    page = StoryFiles(tmp_path).page_of(draft.incident.id)
    assert "no room" in page.read_text()
    assert page.stat().st_mode & 0o077 == 0
    assert said == []
    story = teller.story(draft.incident.id)
    assert story is not None
    assert story.outcome == "refused: no room"


def test_an_incident_without_a_file_is_shown_from_the_journal(tmp_path: Path) -> None:
    scene, teller, _ = refused(tmp_path)
    incident = scene.incidents()[0].id
    story = teller.story(incident)
    assert story == story_of(scene.journal, incident)
    assert story is not None
    assert story.evidence
    for wrong in ("", "../journal", "ffffffff", "A" * 9):
        assert teller.story(wrong) is None


def test_a_full_disk_is_said_once(tmp_path: Path) -> None:
    scene, teller, said = refused(tmp_path)
    (tmp_path / "incidents").write_text("a file stands in the way")
    for _ in range(2):
        teller.tell(draft_of(scene))
        teller._write(draft_of(scene))
    assert len(said) == 1
    assert "was not written (" in said[0]


def test_the_oldest_pages_go(tmp_path: Path) -> None:
    files = StoryFiles(tmp_path)
    story = Story("00000000", "cuda-oom", "", Subject("r"))
    files.save(story, "x")
    for number in range(1, MOST + 3):
        for kind in ("html", "json"):
            (files.folder / f"{number:08x}.{kind}").write_text("{}")
    files.save(replace(story, incident="ffffffff"), "x")
    assert len(list(files.folder.glob("*.html"))) == MOST
    assert files.load("ffffffff") is not None
    assert files.load("00000000") is None


# ---------------------------------------------------------------- healthy and ready


def test_healthy_while_the_loop_turns_ready_once_it_has_recovered() -> None:
    clock = FakeClock()
    pulse = Pulse(clock)
    server = HttpServer(
        Address("127.0.0.1", 0),
        lambda accept: ("text/plain", b""),
        healthy=pulse.healthy,
        ready=pulse.ready,
    )
    server.start()

    def ask(path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", server.address.port, timeout=10)
        connection.request("GET", path)
        status = connection.getresponse().status
        connection.close()
        return status

    try:
        assert (ask("/-/healthy"), ask("/-/ready")) == (200, 503)
        pulse.recovered()
        assert (ask("/-/healthy"), ask("/-/ready")) == (200, 200)
        clock.now += STALLED_SECONDS + 1
        assert (ask("/-/healthy"), ask("/-/ready")) == (503, 503)
        pulse.beat()
        assert (ask("/-/healthy"), ask("/-/ready")) == (200, 200)
    finally:
        server.close()


@pytest.mark.parametrize("seconds", [0.0, STALLED_SECONDS - 0.1])
def test_a_moment_without_an_event_is_no_stall(seconds: float) -> None:
    clock = FakeClock()
    pulse = Pulse(clock)
    clock.now += seconds
    assert pulse.healthy()
