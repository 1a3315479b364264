"""The densest image of a data set, read from real label files, and silence about all else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from yolowatch.edges import labels
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.labels import most_boxes

BOX = "0 0.5 0.5 0.1 0.1\n"


def data_set(root: Path, counts: tuple[int, ...] = (3, 40, 7), train: str = "images/train") -> Path:
    """A data set whose images have so many boxes; its data.yaml."""
    (root / "labels" / "train").mkdir(parents=True)
    (root / "images" / "train").mkdir(parents=True)
    for number, count in enumerate(counts):
        (root / "labels" / "train" / f"{number}.txt").write_text(BOX * count + "\n")
    data = root / "data.yaml"
    data.write_text(f"path: .\ntrain: {train}\nval: images/val\nnames: {{0: a}}\n")
    return data


def found(data: Path) -> int | None:
    return most_boxes(str(data), SystemClock())


def test_the_densest_image_is_found(tmp_path: Path) -> None:
    assert found(data_set(tmp_path)) == 40


def test_folders_within_folders_and_lists_are_read(tmp_path: Path) -> None:
    data = data_set(tmp_path)
    below = tmp_path / "labels" / "train" / "more"
    below.mkdir()
    (below / "x.txt").write_text(BOX * 55)
    assert found(data) == 55
    images = [f"{tmp_path}/images/train/{number}.png" for number in (0, 2, 9)]
    (tmp_path / "list.txt").write_text("\n".join(images))
    data.write_text("train: [list.txt]\n")
    assert found(data) == 7  # image 9 has no label and so no box


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "train: 5",
        "train: pictures",
        "train: {a: b}",
        "train: no/images/x",
        "\0",
        "*a",
    ],
)
def test_what_is_not_understood_is_unknown(tmp_path: Path, document: str) -> None:
    data = data_set(tmp_path)
    data.write_text(document)
    assert found(data) is None


def test_no_labels_and_no_file_are_unknown(tmp_path: Path) -> None:
    assert found(data_set(tmp_path, ())) is None
    assert found(tmp_path / "missing.yaml") is None


def test_too_many_files_are_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MOST_FILES", 2)
    assert found(data_set(tmp_path)) is None


def test_too_much_time_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "MOST_SECONDS", -1.0)
    monkeypatch.setattr(labels, "_AT_ONCE", 1)
    assert found(data_set(tmp_path)) is None


def test_pipes_and_large_files_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "pipe").mkdir()
    data = data_set(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe" / "labels" / "train" / "9.txt")
    assert found(data) is None
    (tmp_path / "large").mkdir()
    data = data_set(tmp_path / "large")
    with (tmp_path / "large" / "labels" / "train" / "9.txt").open("wb") as file:
        file.truncate(labels.MOST_BYTES + 1)
    assert found(data) is None
