"""Checkpoints: whole, cut off at every place, damaged, hostile."""

from __future__ import annotations

import os
import random
import resource
import struct
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from yolowatch.edges.checkpoints import inspect, looks_whole
from yolowatch.edges.files import sha256

WriteCheckpoint = Callable[..., Path]


def test_a_whole_checkpoint(tmp_path: Path, write_checkpoint: WriteCheckpoint) -> None:
    path = write_checkpoint(tmp_path / "last.pt", facts=b"the facts")
    report = inspect(path, with_sha256=True)
    assert report.valid
    assert report.reason is None
    assert report.facts == b"the facts"
    assert report.sha256 == sha256(path.read_bytes())
    status = path.stat()
    assert (report.size_bytes, report.mtime_ns, report.inode) == (
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
    )
    assert looks_whole(path)
    assert inspect(path).sha256 is None


def test_cut_off_anywhere(tmp_path: Path, write_checkpoint: WriteCheckpoint) -> None:
    whole = write_checkpoint(tmp_path / "last.pt").read_bytes()
    cut = tmp_path / "cut.pt"
    for size in [0, 1, 4, 5, 100, *range(200, len(whole), 97), len(whole) - 1]:
        cut.write_bytes(whole[:size])
        report = inspect(cut)
        assert not report.valid, size
        assert report.reason
        assert report.facts is None
        assert not looks_whole(cut)
    assert report.reason == "is cut off: its end is missing"


def test_any_flipped_byte_of_a_member_is_found(
    tmp_path: Path, write_checkpoint: WriteCheckpoint
) -> None:
    whole = write_checkpoint(tmp_path / "last.pt", tensor=random.Random(1).randbytes(3000))
    data, dice = whole.read_bytes(), random.Random(2)
    facts, damaged = data.index(b"\x80\x02}q"), tmp_path / "damaged.pt"
    tensor = data.index(random.Random(1).randbytes(3000))
    for place in (facts, *(tensor + dice.randrange(3000) for _ in range(100))):
        flipped = bytearray(data)
        flipped[place] ^= 1 << dice.randrange(8)
        damaged.write_bytes(flipped)
        assert not inspect(damaged).valid
    assert inspect(damaged).reason == "is damaged (Bad CRC-32 for file 'archive/data/0')"


def test_random_damage_is_never_an_exception(
    tmp_path: Path, write_checkpoint: WriteCheckpoint
) -> None:
    data, dice = write_checkpoint(tmp_path / "last.pt").read_bytes(), random.Random(4)
    path = tmp_path / "damaged.pt"
    for _ in range(1500):
        damaged = bytearray(data)
        for _ in range(dice.choice((1, 2, 10))):
            damaged[dice.randrange(4, len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        report = inspect(path)
        assert report.valid == (report.reason is None) == (report.facts is not None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "old format"),
        (b"<html>404</html>", "no torch checkpoint"),
        (b"PK\x05\x06" + b"\0" * 18, "no torch checkpoint"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    assert reason in (inspect(path).reason or "")


def test_hostile_archives(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10**6)
    assert "compressed" in (inspect(path).reason or "")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"a")
        archive.writestr("other/data.pkl", b"b")
    assert "two members" in (inspect(path).reason or "")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data/data.pkl", b"a")
    assert "has no data.pkl" in (inspect(path).reason or "")
    # Two directory entries over the same bytes: together more than the file holds.
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"a")
        archive.writestr("archive/data/0", b"b" * 5000)
        archive.filelist.append(archive.filelist[1])
    assert "overlap" in (inspect(path).reason or "")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"a")
        archive.filelist[0].flag_bits |= 1  # encrypted, says the directory
    assert "is damaged" in (inspect(path).reason or "")


def test_a_facts_member_beyond_the_bound_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    with zipfile.ZipFile(path, "w") as archive, archive.open("a/data.pkl", "w") as member:
        for _ in range(65):
            member.write(b"\0" * 1024**2)
    assert "more than 67108864 bytes" in (inspect(path).reason or "")


def test_what_cannot_be_opened(tmp_path: Path, write_checkpoint: WriteCheckpoint) -> None:
    assert inspect(tmp_path / "missing.pt").reason == "does not exist"
    assert "no regular file" in (inspect(tmp_path).reason or "")
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in (inspect(tmp_path / "pipe").reason or "")
    link = tmp_path / "link.pt"
    link.symlink_to(write_checkpoint(tmp_path / "last.pt"))
    assert inspect(link).valid
    assert "cannot be read" in (inspect(link, follow_links=False).reason or "")


def test_a_file_that_is_being_written_is_never_valid_with_mixed_content(
    tmp_path: Path, write_checkpoint: WriteCheckpoint
) -> None:
    """As the trainers do: the same file is truncated and written again and again."""
    path = tmp_path / "last.pt"
    contents = [
        write_checkpoint(tmp_path / "new.pt", tensor=bytes([n]) * 400_000).read_bytes()
        for n in range(5)
    ]
    path.write_bytes(contents[0])
    stop = threading.Event()

    def train() -> None:
        dice = random.Random(5)
        while not stop.is_set():
            with open(path, "wb") as file:
                data = dice.choice(contents)
                for start in range(0, len(data), 50_000):
                    file.write(data[start : start + 50_000])

    thread = threading.Thread(target=train)
    thread.start()
    try:
        reports = [inspect(path, with_sha256=True) for _ in range(150)]
    finally:
        stop.set()
        thread.join()
    hashes = {sha256(each) for each in contents}
    assert {each.sha256 for each in reports if each.valid} <= hashes
    assert inspect(path).valid


def test_memory_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "large.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"x")
        with archive.open("a/data/0", "w", force_zip64=True) as member:
            for _ in range(300):
                member.write(b"\1" * 1024**2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert inspect(path, with_sha256=True).valid
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000, "in KiB"


def test_a_member_said_to_be_larger_than_the_file(
    tmp_path: Path, write_checkpoint: WriteCheckpoint
) -> None:
    path = write_checkpoint(tmp_path / "last.pt")
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\1\2")
    data[entry + 20 : entry + 28] = struct.pack("<II", 0x7FFFFFFF, 0x7FFFFFFF)
    path.write_bytes(data)
    assert not inspect(path).valid
