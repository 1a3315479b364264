"""The state directory and the socket's place, with real directories."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from yolowatch.edges.statedir import (
    default_state_directory,
    remove_socket_directory,
    socket_directory,
    state_directory,
)
from yolowatch.errors import StateError


def test_the_default_follows_the_specification() -> None:
    assert default_state_directory({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == Path("/s/yolowatch")
    home = Path("/h/.local/state/yolowatch")
    assert default_state_directory({"HOME": "/h"}) == home
    assert default_state_directory({"XDG_STATE_HOME": "relative", "HOME": "/h"}) == home
    with pytest.raises(StateError, match="give --state-dir"):
        default_state_directory({"HOME": "relative"})
    assert default_state_directory({}).is_absolute()


def test_it_is_made_privately(tmp_path: Path) -> None:
    path = state_directory(None, {"HOME": str(tmp_path)})
    assert path == tmp_path / ".local/state/yolowatch"
    assert path.stat().st_mode & 0o777 == 0o700
    assert list(path.iterdir()) == []
    assert state_directory(path, {}) == path


def test_a_directory_of_the_user_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o775)
    monkeypatch.chdir(tmp_path)
    assert state_directory(Path("."), {}) == tmp_path
    assert tmp_path.stat().st_mode & 0o777 == 0o775


def test_what_stands_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "beneath"):
        with pytest.raises(StateError, match=r"a file stands in its way.*--state-dir"):
            state_directory(path, {})
    with pytest.raises(StateError, match=r"^The state directory /proc/nope cannot be written"):
        state_directory(Path("/proc/nope"), {})
    tmp_path.chmod(0o777)
    with pytest.raises(StateError, match="chmod o-w"):
        state_directory(tmp_path, {})


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")
def test_another_users_directory_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 1234)
    with pytest.raises(StateError, match=r"belongs to uid 1234.*give another"):
        state_directory(tmp_path, {})


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")
def test_one_that_may_not_be_made_is_named() -> None:
    program = """
import os, sys
from pathlib import Path
from yolowatch.edges.statedir import state_directory
from yolowatch.errors import StateError
os.setuid(65534)
try:
    state_directory(Path(sys.argv[1]), {})
except StateError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "/var/lib/yolowatch-of-nobody"],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot be written (Permission denied): make it writable" in done.stdout, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a filesystem that can be made full")
def test_a_full_disk_is_noticed_at_once(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "filler").write_bytes(b"x" * 100_000)
        with pytest.raises(StateError, match="No space left on device"):
            state_directory(tmp_path, {})
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_sockets_place_is_private_new_and_short(tmp_path: Path) -> None:
    made = [socket_directory({"TMPDIR": "/tmp"}) for _ in range(2)]
    try:
        assert made[0] != made[1]
        assert made[0].parent == Path("/tmp")
        assert made[0].stat().st_mode & 0o777 == 0o700
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(str(made[0] / "hook.sock"))
    finally:
        for each in made:
            remove_socket_directory(each)
            assert not each.exists()


def test_a_place_that_is_too_long_or_closed_is_passed_over(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    for place in (str(long), "/proc", "relative", ""):
        path = socket_directory({"TMPDIR": place})
        assert path.parent == Path("/tmp")
        remove_socket_directory(path)
    assert list(long.iterdir()) == []


def test_no_place_at_all_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(prefix: str, dir: str) -> str:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(StateError, match=r"/tmp: Read-only file system.*set TMPDIR"):
        socket_directory({})


def test_the_runtime_directory_is_the_last_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Path(tempfile.mkdtemp(dir="/tmp", prefix="r"))
    mkdtemp = tempfile.mkdtemp

    def refuse_tmp(prefix: str, dir: str) -> str:
        if dir == "/tmp":
            raise OSError(30, os.strerror(30))
        return mkdtemp(prefix=prefix, dir=dir)

    try:
        monkeypatch.setattr(tempfile, "mkdtemp", refuse_tmp)
        assert socket_directory({"XDG_RUNTIME_DIR": str(runtime)}).parent == runtime
    finally:
        shutil.rmtree(runtime)
