"""Last words that nobody listened to: written by the hook, read by the next daemon."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from yolowatch.edges import notes, proc
from yolowatch.hook import wire
from yolowatch.hook.keeping import Kept
from yolowatch.model.identity import ProcessKey

WORDS = {"exception": "torch.OutOfMemoryError", "text": "CUDA out of memory", "handled": False}


@pytest.fixture
def me() -> ProcessKey:
    key = proc.process_key(os.getpid())
    assert key is not None
    return key


def written(run_dir: Path, kind: str = "last_words") -> None:
    kept = Kept()
    kept.remember("run", {"trainer": "ultralytics", "run_dir": str(run_dir)})
    kept.leave_note(wire.encode(kind, WORDS if kind == "last_words" else {}))


def test_what_the_hook_wrote_is_read(tmp_path: Path, me: ProcessKey) -> None:
    written(tmp_path)
    assert notes.last_message(tmp_path, me) == ("last_words", WORDS)
    note = next((tmp_path / ".yolowatch").iterdir())
    assert note.stat().st_mode & 0o777 == 0o600


def test_without_a_run_directory_nothing_is_written(tmp_path: Path, me: ProcessKey) -> None:
    Kept().leave_note(b"x")
    assert notes.last_message(tmp_path, me) is None


def test_only_what_ends_a_training_counts(tmp_path: Path, me: ProcessKey) -> None:
    written(tmp_path, "bye")
    assert notes.last_message(tmp_path, me) == ("bye", {})
    written(tmp_path, "epoch_end")
    assert notes.last_message(tmp_path, me) is None


@pytest.mark.parametrize("content", [b"", b"YW", bytes(range(100)), b"x" * 100_000])
def test_a_forged_note_says_nothing(tmp_path: Path, me: ProcessKey, content: bytes) -> None:
    (tmp_path / ".yolowatch").mkdir()
    (tmp_path / ".yolowatch" / f"last-words-{me.pid}").write_bytes(content)
    assert notes.last_message(tmp_path, me) is None


def test_an_earlier_process_of_this_number_left_it(tmp_path: Path) -> None:
    child = subprocess.Popen((sys.executable, "-c", "input()"), stdin=subprocess.PIPE)
    key = proc.process_key(child.pid)
    assert key is not None
    (tmp_path / ".yolowatch").mkdir()
    path = tmp_path / ".yolowatch" / f"last-words-{child.pid}"
    path.write_bytes(wire.encode("last_words", WORDS))
    os.utime(path, (1.0, 1.0))
    assert notes.last_message(tmp_path, key) is None
    os.utime(path)
    assert notes.last_message(tmp_path, key) == ("last_words", WORDS)
    child.communicate()


def test_what_stands_for_more_than_a_moment_is_said_again_in_order() -> None:
    kept = Kept()
    kept.remember("checkpoint", {"path": "/r/last.pt", "epoch": 3})
    kept.remember("sample", {"step": 7})
    kept.remember("run", {"trainer": "yolov5"})
    kept.remember("epoch_end", {"epoch": 2})
    kept.remember("epoch_end", {"epoch": 3})
    assert [wire.decode(each) for each in kept.messages()] == [
        ("run", {"trainer": "yolov5"}),
        ("epoch_end", {"epoch": 3}),
        ("checkpoint", {"path": "/r/last.pt", "epoch": 3}),
    ]
