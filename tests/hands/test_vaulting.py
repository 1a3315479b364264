"""Copies of checkpoints, taken in a thread of their own while the training goes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.parts import FakeClock, write_checkpoint
from yolowatch.edges.files import sha256
from yolowatch.hands.vaulting import Vaults
from yolowatch.model import events
from yolowatch.model.actions import VaultCheckpoint


class Working:
    """Vaults at work once `thread` is started; `posted` is what the loop would hear."""

    def __init__(self) -> None:
        self.posted: queue.Queue[events.Event] = queue.Queue()
        self.has_room = True
        self.vaults = Vaults(FakeClock(), 2, self.post)
        self.thread = threading.Thread(target=self.vaults.work)

    def post(self, event: events.Event) -> bool:
        if self.has_room:
            self.posted.put(event)
        return self.has_room

    def order(self, path: Path, epoch: int = 3, run_dir: Path | None = None) -> None:
        folder = run_dir or path.parent.parent
        self.vaults.order(VaultCheckpoint(str(path), str(folder), 0, epoch))

    def heard(self) -> list[events.Event]:
        self.vaults.settle()
        found = []
        while not self.posted.empty():
            found.append(self.posted.get())
        return found


@pytest.fixture
def working() -> Iterator[Working]:
    working = Working()
    working.thread.start()
    yield working
    working.vaults.stop()
    working.thread.join(10)
    assert not working.thread.is_alive()


def test_a_saved_checkpoint_is_copied_and_reported(working: Working, tmp_path: Path) -> None:
    last = tmp_path / "weights" / "last.pt"
    content = write_checkpoint(last)
    assert working.vaults.newest(str(tmp_path)) is None
    assert working.vaults.taken(str(tmp_path)) == frozenset()
    working.order(last)
    (event,) = working.heard()
    assert isinstance(event, events.CheckpointVaulted)
    assert (event.path, event.epoch, event.bytes) == (str(last), 3, len(content))
    assert event.sha256 == sha256(content)
    assert Path(event.copy).read_bytes() == content
    newest = working.vaults.newest(str(tmp_path))
    assert newest is not None
    assert working.vaults.taken(str(tmp_path)) == {newest.copy} == {Path(event.copy)}


def test_what_cannot_be_copied_is_refused_and_the_next_is_not(
    working: Working, tmp_path: Path
) -> None:
    last = tmp_path / "weights" / "last.pt"
    write_checkpoint(last, 1)
    working.order(last, 1)
    (stored,) = working.heard()
    working.order(last.with_name("gone.pt"))
    (tmp_path / "weights" / "cut.pt").write_bytes(last.read_bytes()[:1000])
    working.order(last.with_name("cut.pt"))
    working.order(last, 1, tmp_path / "no" / "such" / "directory")
    missing, cut, nowhere = working.heard()
    assert isinstance(stored, events.CheckpointVaulted)
    for event, words in ((missing, "No such file"), (cut, "cut off"), (nowhere, "No such file")):
        assert isinstance(event, events.CheckpointRefused)
        assert words in event.reason
    newest = working.vaults.newest(str(tmp_path))
    assert newest is not None
    assert str(newest.copy) == stored.copy
    write_checkpoint(last, 2)
    working.order(last, 2)
    assert isinstance(working.heard()[0], events.CheckpointVaulted)


def test_orders_that_a_newer_one_has_overtaken_are_left_out(tmp_path: Path) -> None:
    """A file that is saved faster than it is copied: what lies there is the newest."""
    last = tmp_path / "weights" / "last.pt"
    working = Working()
    for epoch in range(5):
        content = write_checkpoint(last, epoch)
        working.order(last, epoch)
    working.vaults.stop()
    working.thread.start()
    working.thread.join(10)
    (event,) = working.heard()
    assert isinstance(event, events.CheckpointVaulted)
    assert (event.epoch, event.sha256) == (4, sha256(content))


def test_settling_waits_for_everything_that_was_ordered(working: Working, tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("a", "b")]
    for epoch in range(5):
        for run in runs:
            write_checkpoint(run / "weights" / f"epoch{epoch}.pt", epoch)
            working.order(run / "weights" / f"epoch{epoch}.pt", epoch)
    working.vaults.settle()
    for run in runs:
        newest = working.vaults.newest(str(run))
        assert newest is not None
        assert newest.epoch == 4
        assert working.vaults.of(str(run)) is working.vaults.of(str(run))
        assert len(list((run / ".yolowatch" / "checkpoints").iterdir())) == 2, "the newest two"
    assert working.vaults.of(str(runs[0])) is not working.vaults.of(str(runs[1]))


def test_a_full_queue_of_the_loop_does_not_stop_it(working: Working, tmp_path: Path) -> None:
    last = tmp_path / "weights" / "last.pt"
    write_checkpoint(last)
    working.has_room = False
    working.order(last)
    assert working.heard() == []
    assert working.vaults.newest(str(tmp_path)) is not None
