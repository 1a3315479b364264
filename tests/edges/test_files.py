"""Reading and replacing files, with real files and real kills."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from yolowatch.edges import files
from yolowatch.edges.files import Changed, FileRefused, read_bounded, replace_file, sha256


def test_a_file_is_replaced_whole_and_keeps_owner_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "args.yaml"
    path.write_bytes(b"batch: 16\n")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    before = path.stat()
    assert replace_file(path, b"batch: 8\n", sha256(b"batch: 16\n")) == sha256(b"batch: 8\n")
    after = path.stat()
    assert path.read_bytes() == b"batch: 8\n"
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert after.st_ino != before.st_ino, "who holds the old file open still has it whole"
    assert [each.name for each in tmp_path.iterdir()] == ["args.yaml"]


def test_a_file_that_is_another_now_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "args.yaml"
    path.write_bytes(b"edited by its owner")
    with pytest.raises(Changed, match="changed by somebody else"):
        replace_file(path, b"new", sha256(b"as it was"))
    assert path.read_bytes() == b"edited by its owner"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_change_at_the_last_moment_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "args.yaml"
    path.write_bytes(b"old")
    write_like = files._write_like

    def slow(*arguments: object) -> None:
        write_like(*arguments)  # type: ignore[arg-type]
        path.write_bytes(b"edited by its owner")

    monkeypatch.setattr(files, "_write_like", slow)
    with pytest.raises(Changed, match="just now"):
        replace_file(path, b"new", sha256(b"old"))
    assert path.read_bytes() == b"edited by its owner"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "file", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to("real/file")
    replace_file(link, b"new", sha256(b"old"))
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_extended_attributes_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "args.yaml"
    path.write_bytes(b"old")
    try:
        os.setxattr(path, "user.note", b"mine")
    except OSError:
        pytest.skip("this filesystem has no extended attributes")
    replace_file(path, b"new", sha256(b"old"))
    assert os.getxattr(path, "user.note") == b"mine"


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(FileRefused, match="no regular file"):
            read_bounded(path, 100)
        with pytest.raises(FileRefused):
            replace_file(path, b"", "")
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "missing", 100)
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "missing", b"", "")


def test_the_bound_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_bounded(path, 100) == b"x" * 100
    with pytest.raises(FileRefused, match="larger than 99 bytes"):
        read_bounded(path, 99)


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "args.yaml"
    contents = [bytes([letter]) * 200_000 for letter in b"abcdefgh"]
    path.write_bytes(contents[0])
    seen, stop = set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(read_bounded(path, 10**6))

    thread = threading.Thread(target=read)
    thread.start()
    for old, new in pairwise(contents):
        replace_file(path, new, sha256(old))
    stop.set()
    thread.join()
    assert seen <= set(contents)


@pytest.mark.parametrize("moment", ["fsync", "replace", "fchmod"])
def test_kill_9_at_any_moment_leaves_a_whole_file(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "args.yaml"
    path.write_bytes(b"old")
    program = f"""
import os, signal, sys
from pathlib import Path
from yolowatch.edges.files import replace_file, sha256
os.{moment} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
replace_file(Path(sys.argv[1]), b"new", sha256(b"old"))
"""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    died = subprocess.run(
        [sys.executable, "-c", program, str(path)], env=environment, timeout=30, check=False
    )
    assert died.returncode == -9
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a filesystem that can be made full")
def test_a_full_disk_leaves_the_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        path = disk / "args.yaml"
        path.write_bytes(b"old")
        with pytest.raises(OSError, match="No space left"):
            replace_file(path, b"x" * 200_000, sha256(b"old"))
        assert path.read_bytes() == b"old"
        assert [each.name for each in disk.iterdir()] == ["args.yaml"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
