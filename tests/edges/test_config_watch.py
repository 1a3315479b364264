"""Changes of the configuration reach the loop: by inotify, by looking where that is silent."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from yolowatch.edges import config_watch
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.config_files import MAX_BYTES, read_documents
from yolowatch.edges.config_watch import ConfigWatch, Pace
from yolowatch.errors import ConfigError
from yolowatch.model.events import ConfigChanged, Event

PATIENCE = 30.0
NEVER = 10_000.0
BY_INOTIFY = Pace(poll=NEVER, poll_silent=NEVER, settle=0.05)
BY_LOOKING = Pace(poll=0.05, poll_silent=0.05, settle=0.01)


class Watched:
    """A configuration file, its watch, and what the watch has posted."""

    def __init__(self, path: Path, pace: Pace, posts: Callable[[Event], bool] | None) -> None:
        self.path = path
        self.events: queue.Queue[Event] = queue.Queue()
        post = posts or self.post
        self.watch = ConfigWatch(path, post, SystemClock(), read_documents(path), pace)
        self.watch.start()

    def post(self, event: Event) -> bool:
        self.events.put(event)
        return True

    def next(self) -> ConfigChanged:
        event = self.events.get(timeout=PATIENCE)
        assert isinstance(event, ConfigChanged)
        return event

    def until(self, text: str) -> ConfigChanged:
        """The event with this last text; an earlier one may show the file half written."""
        while (event := self.next()).trouble or event.documents[-1][1] != text:
            pass
        return event


@pytest.fixture
def watched(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watched]:
    pace: Pace = getattr(request, "param", BY_INOTIFY)
    if pace is BY_LOOKING:
        monkeypatch.setattr(config_watch, "is_network_filesystem", lambda path: True)
    path = tmp_path / "etc" / "yolowatch.yaml"
    path.parent.mkdir()
    path.write_text("mode: observe\n")
    found = Watched(path, pace, None)
    yield found
    found.watch.close()


def test_the_file_comes_first_and_the_drop_ins_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "yolowatch.yaml"
    path.write_text("one")
    assert read_documents(path) == ((str(path), "one"),)
    drop_ins = tmp_path / "conf.d"
    drop_ins.mkdir()
    for name in ("20-b.yaml", "10-a.yaml", ".20-b.yaml.swp", ".hidden.yaml", "note.txt"):
        (drop_ins / name).write_text(name)
    assert [text for _, text in read_documents(path)] == ["one", "10-a.yaml", "20-b.yaml"]


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "yolowatch.yaml"
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_documents(path)
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="no regular UTF-8 text"):
        read_documents(path)
    path.unlink()
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="no regular UTF-8 text"):
        read_documents(path)
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="no regular UTF-8 text"):
        read_documents(path)


@pytest.mark.parametrize("watched", [BY_INOTIFY, BY_LOOKING], indirect=True)
def test_a_change_is_told(watched: Watched) -> None:
    watched.path.write_text("mode: auto\n")
    assert watched.until("mode: auto\n").documents == ((str(watched.path), "mode: auto\n"),)
    beside = watched.path.with_name("new")
    beside.write_text("mode: recommend\n")
    beside.rename(watched.path)  # as editors do it
    watched.until("mode: recommend\n")


@pytest.mark.parametrize("watched", [BY_INOTIFY, BY_LOOKING], indirect=True)
def test_a_drop_in_is_told_in_a_directory_that_comes_later(watched: Watched) -> None:
    drop_ins = watched.path.parent / "conf.d"
    drop_ins.mkdir()
    (drop_ins / "a.yaml").write_text("mode: auto\n")
    watched.until("mode: auto\n")
    (drop_ins / "a.yaml").unlink()
    assert len(watched.until("mode: observe\n").documents) == 1


def test_a_file_that_goes_is_a_sentence_and_its_return_a_change(watched: Watched) -> None:
    text = watched.path.read_text()
    watched.path.unlink()
    event = watched.next()
    assert event.documents == ()
    assert event.trouble is not None
    assert "cannot be read: No such file" in event.trouble
    watched.path.write_text(text)
    watched.until(text)


def test_the_same_text_again_is_told_only_where_it_was_asked_for(watched: Watched) -> None:
    watched.path.write_text(watched.path.read_text())
    watched.watch.reload()
    assert watched.next().trouble is None
    assert watched.events.empty()


def test_a_full_queue_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "yolowatch.yaml"
    path.write_text("mode: observe\n")
    events: queue.Queue[Event] = queue.Queue()
    refusals = iter([False, False])

    def post(event: Event) -> bool:
        accepted = next(refusals, True)
        if accepted:
            events.put(event)
        return accepted

    found = Watched(path, BY_LOOKING, post)
    path.write_text("mode: auto\n")
    event = events.get(timeout=PATIENCE)
    found.watch.close()
    assert isinstance(event, ConfigChanged)
    assert event.documents[0][1] in ("", "mode: auto\n")


def test_without_inotify_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(self: object) -> None:
        raise OSError("inotify instance limit reached")

    monkeypatch.setattr(config_watch.Observer, "start", none_left)
    path = tmp_path / "yolowatch.yaml"
    path.write_text("mode: observe\n")
    found = Watched(path, BY_LOOKING, None)
    path.write_text("mode: auto\n")
    found.until("mode: auto\n")
    found.watch.close()


def test_a_change_before_the_start_is_not_missed(tmp_path: Path) -> None:
    path = tmp_path / "yolowatch.yaml"
    path.write_text("mode: observe\n")
    documents = read_documents(path)
    path.write_text("mode: auto\n")
    events: queue.Queue[Event] = queue.Queue()
    post: Callable[[Event], bool] = lambda event: (events.put(event), True)[1]  # noqa: E731
    watch = ConfigWatch(path, post, SystemClock(), documents, BY_INOTIFY)
    watch.start()
    event = events.get(timeout=PATIENCE)
    watch.close()
    assert isinstance(event, ConfigChanged)
    assert event.documents[0][1] == "mode: auto\n"
