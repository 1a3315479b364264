"""What is paused outlives the daemon, and what cannot be read counts as paused."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolowatch.edges.pausing import Paused, PauseFile


def test_nothing_is_paused_at_first(tmp_path: Path) -> None:
    assert PauseFile(tmp_path).read() == Paused()


def test_what_is_kept_is_read(tmp_path: Path) -> None:
    file = PauseFile(tmp_path)
    for paused in (Paused(True), Paused(False, frozenset({"a1", "b2"})), Paused()):
        file.keep(paused, ["a1", "b2"])
        assert PauseFile(tmp_path).read() == paused


def test_runs_that_nobody_knows_are_forgotten(tmp_path: Path) -> None:
    file = PauseFile(tmp_path)
    file.keep(Paused(False, frozenset({"a1", "gone"})), ["a1", "b2"])
    assert file.read() == Paused(False, frozenset({"a1"}))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"everything": true}', "\0" * 2_000_000])
def test_what_cannot_be_read_is_everything(tmp_path: Path, text: str) -> None:
    file = PauseFile(tmp_path)
    file.path.write_text(text)
    assert file.read() == Paused(everything=True)


def test_a_write_that_fails_leaves_what_was(tmp_path: Path) -> None:
    file = PauseFile(tmp_path)
    file.keep(Paused(True), [])
    file.path.with_name("paused.json.new").mkdir()  # in the way
    with pytest.raises(OSError, match="new"):
        file.keep(Paused(), [])
    assert file.read() == Paused(True)


def test_what_a_killed_daemon_left_is_in_nobodys_way(tmp_path: Path) -> None:
    file = PauseFile(tmp_path)
    file.path.with_name("paused.json.new").write_text("half")
    file.keep(Paused(True), [])
    assert file.read() == Paused(True)
