"""What a process was started with, and that it is started again with the same."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hands import strangers
from tests.hands.strangers import GROUPS, ROOT, UID, end, home, settle, stranger
from yolowatch.edges.capture import capture
from yolowatch.edges.proc import is_alive, parent_pid, process_key
from yolowatch.errors import CaptureError, LaunchError
from yolowatch.hands.detached import start_detached
from yolowatch.hands.scopes import slice_of
from yolowatch.model.captured import FILE, LOST, NULL, TERMINAL, Captured, Output
from yolowatch.model.identity import ProcessKey

SAY = ("/bin/sh", "-c", "echo $0 $SECRET_WORD; exec sleep 600", "hello")
UNIT = "yolowatch-test-1.scope"


@pytest.fixture
def place() -> Iterator[Path]:
    with home() as path:
        yield path


def asleep(process: ProcessKey) -> bool:
    """Whether it has become `sleep`, to the last byte of what /proc says of it."""
    base = Path(f"/proc/{process.pid}")
    return (base / "cmdline").read_bytes() == b"sleep\x00600\x00" and bool(
        (base / "environ").read_bytes()
    )


@contextlib.contextmanager
def captured_from(place: Path, log: Path | None = None, **how: object) -> Iterator[Captured]:
    with stranger(SAY, place, log=log, **how) as other:  # type: ignore[arg-type]
        settle(lambda: asleep(other.key))
        yield capture(other.key)


@contextlib.contextmanager
def started(captured: Captured, place: Path, *argv: str) -> Iterator[ProcessKey]:
    process = start_detached(
        captured,
        argv or captured.argv,
        captured.environment,
        unit=UNIT,
        fallback_log=place / ".yolowatch" / "attempt-1.log",
    )
    try:
        yield process
    finally:
        end(process)


# ---------------------------------------------------------------- what is captured


def test_everything_that_it_got_is_captured_and_its_secrets_are_not_shown(place: Path) -> None:
    log = place / "train.log"
    with captured_from(place, log) as captured:
        pass
    assert captured.argv == ("sleep", "600")
    assert os.path.basename(captured.executable) in ("sleep", "busybox", "coreutils")
    assert {**captured.environment, "PWD": ""} == {**strangers.ENVIRONMENT, "PWD": ""}
    assert (captured.uid, captured.gid) == (UID, strangers.GID)
    assert sorted(captured.groups) == sorted(GROUPS)
    assert (captured.cwd, captured.umask, captured.nice) == (str(place), 0o027, 3 + os.nice(0))
    assert captured.oom_score_adj == 250
    assert len(captured.affinity) == 1
    assert (7, 200, 300) in captured.limits
    assert (captured.stdout.kind, captured.stdout.path) == (FILE, str(log))
    assert captured.stderr == captured.stdout
    assert "p4ss" not in repr(captured)


def test_a_process_that_ended_cannot_be_captured(place: Path) -> None:
    with stranger(SAY, place) as other:
        pass
    with pytest.raises(CaptureError, match="has ended"):
        capture(other.key)


def test_another_process_of_the_same_pid_is_not_captured() -> None:
    key = process_key(os.getpid())
    assert key is not None
    with pytest.raises(CaptureError, match="has ended"):
        capture(replace(key, start_ticks=key.start_ticks - 1))


def test_a_zombie_cannot_be_captured() -> None:
    child = subprocess.Popen(["true"])
    key = process_key(child.pid)
    assert key is not None
    settle(lambda: is_alive(key) is False)
    with pytest.raises(CaptureError, match="has ended"):
        capture(key)
    child.wait()


@pytest.mark.skipif(not ROOT, reason="needs root to have another's process, and to drop rights")
def test_another_users_process_is_refused_with_a_sentence(place: Path) -> None:
    program = (
        "import os, sys\n"
        "from yolowatch.edges import capture, proc\n"
        "from yolowatch.errors import CaptureError\n"
        "os.setresuid(34567, 34567, 34567)\n"
        "try: capture.capture(proc.process_key(int(sys.argv[1])))\n"
        "except CaptureError as error: print(error)\n"
    )
    with stranger(SAY, place) as other:
        settle(lambda: asleep(other.key))
        done = subprocess.run(
            [sys.executable, "-c", program, str(other.key.pid)], capture_output=True, text=True
        )
    assert "only its own user and root may" in done.stdout, done.stderr


@pytest.mark.skipif(not ROOT, reason="needs root to make a process of two users")
def test_a_process_of_two_users_is_refused(place: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import os, time; os.seteuid(23456); print(1, flush=True);"
         "time.sleep(600)"], stdout=subprocess.PIPE
    )  # fmt: skip
    try:
        assert child.stdout is not None
        child.stdout.readline()
        key = process_key(child.pid)
        assert key is not None
        with pytest.raises(CaptureError, match="several users"):
            capture(key)
    finally:
        child.kill()
        child.communicate()


@pytest.mark.skipif(not ROOT, reason="needs root for a namespace")
@pytest.mark.parametrize(("flag", "name"), [("--mount", "mnt"), ("--uts", "uts")])
def test_a_process_in_a_container_is_refused(place: Path, flag: str, name: str) -> None:
    with stranger(("unshare", flag, "sleep", "600"), place, uid=0, gid=0, odd=False) as other:
        settle(lambda: asleep(other.key))
        with pytest.raises(CaptureError, match=rf"container \({name} namespace"):
            capture(other.key)


def test_a_process_without_its_directory_is_refused(place: Path) -> None:
    gone = place / "gone"
    gone.mkdir(mode=0o755)
    with stranger(SAY, gone) as other:
        settle(lambda: asleep(other.key))
        gone.rmdir()
        with pytest.raises(CaptureError, match="working directory of process"):
            capture(other.key)


def test_outputs_that_cannot_be_had_again_are_told_apart(place: Path) -> None:
    read, write = os.pipe()
    with open(os.devnull, "w") as null:
        child = subprocess.Popen(["sleep", "600"], stdout=write, stderr=null)
    key = process_key(child.pid)
    assert key is not None
    settle(lambda: asleep(key))
    found = capture(key)
    child.kill()
    child.wait()
    os.close(read)
    os.close(write)
    assert (found.stdout, found.stderr.kind) == (Output(LOST), NULL)


# ---------------------------------------------------------------- and had again


def test_the_same_is_started_again_as_its_own_user(place: Path) -> None:
    log = place / "train.log"
    with captured_from(place, log) as captured:
        environ = Path(f"/proc/{captured.process.pid}/environ").read_bytes()
        limits = Path(f"/proc/{captured.process.pid}/limits").read_bytes()
    with started(captured, place) as process:
        settle(lambda: asleep(process))
        again = capture(process)
        assert replace(again, process=captured.process, cgroups=()) == replace(captured, cgroups=())
        assert Path(f"/proc/{process.pid}/environ").read_bytes() == environ
        assert Path(f"/proc/{process.pid}/limits").read_bytes() == limits
        assert os.getsid(process.pid) == process.pid
        assert parent_pid(process.pid) != os.getpid()
        assert os.readlink(f"/proc/{process.pid}/fd/0") == os.devnull
        assert sorted(os.listdir(f"/proc/{process.pid}/fd")) == ["0", "1", "2"]
        status = Path(f"/proc/{process.pid}/status").read_text()
        signals = dict(re.findall(r"^(Sig(?:Blk|Ign)):\t(\w+)$", status, re.M))
        # 32 and 33 are the C library's own: `make` leaves one ignored, no program can change it.
        own = 0b11 << 31
        assert {name: int(mask, 16) & ~own for name, mask in signals.items()} == {
            "SigBlk": 0,
            "SigIgn": 0,
        }
        if ROOT:
            assert "CapEff:\t0000000000000000" in status
            assert "CapPrm:\t0000000000000000" in status


def test_its_log_goes_on_where_it_was(place: Path) -> None:
    log = place / "train.log"
    with captured_from(place, log) as captured:
        pass
    captured = replace(captured, executable="/bin/sh")
    with started(captured, place, *SAY) as process:
        settle(lambda: asleep(process))
    assert log.read_text() == "hello\nhello\n"
    assert not (place / ".yolowatch").exists()


def test_a_log_that_is_another_file_now_is_left_alone(place: Path) -> None:
    log, private = place / "train.log", place / "private"
    with captured_from(place, log) as captured:
        pass
    private.write_text("root's\n")
    log.unlink()
    log.symlink_to(private)
    captured = replace(captured, executable="/bin/sh")
    with started(captured, place, *SAY) as process:
        settle(lambda: asleep(process))
    assert private.read_text() == "root's\n"
    fallback = place / ".yolowatch" / "attempt-1.log"
    assert fallback.read_text() == "hello\n"
    assert (fallback.stat().st_uid, fallback.parent.stat().st_mode & 0o777) == (UID, 0o700)


def test_a_terminal_is_written_to_while_it_is_there(place: Path) -> None:
    leader, follower = pty.openpty()
    name = os.ttyname(follower)
    os.chown(name, UID, -1)
    with stranger(SAY, place, log=Path(name)) as other:
        settle(lambda: asleep(other.key))
        captured = replace(capture(other.key), executable="/bin/sh")
    assert captured.stdout.kind == TERMINAL
    with started(captured, place, *SAY) as process:
        settle(lambda: asleep(process))
    os.set_blocking(leader, False)
    assert os.read(leader, 1000) == b"hello\r\nhello\r\n"
    os.close(leader)
    os.close(follower)
    with started(captured, place, *SAY) as process:
        settle(lambda: asleep(process))
    assert (place / ".yolowatch" / "attempt-1.log").read_text() == "hello\n"


def test_where_no_log_can_be_kept_it_is_started_all_the_same(place: Path) -> None:
    (place / ".yolowatch").write_text("in the way")
    with captured_from(place) as captured:
        pass
    captured = replace(captured, executable="/bin/sh", stdout=Output(LOST))
    with started(captured, place, *SAY) as process:
        settle(lambda: asleep(process))
        assert os.readlink(f"/proc/{process.pid}/fd/1") == os.devnull


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"executable": "/nowhere/python"}, "No such file or directory: '/nowhere/python'"),
        ({"cwd": "/nowhere"}, "No such file or directory: '/nowhere'"),
        ({"executable": "/etc/hostname"}, "Permission denied|Exec format"),
    ],
)
def test_what_cannot_be_started_is_a_sentence(
    place: Path, change: dict[str, str], words: str
) -> None:
    with captured_from(place) as captured:
        pass
    with pytest.raises(LaunchError, match=words), started(replace(captured, **change), place):
        pass


def test_a_scope_has_a_name_that_a_unit_may_have(place: Path) -> None:
    with captured_from(place) as captured:
        pass
    with pytest.raises(LaunchError, match="no name of a scope"):
        start_detached(
            captured, captured.argv, {}, unit="../../evil.service", fallback_log=place / "log"
        )


def test_whoever_gives_the_orders_may_die_before_anything_is_started(place: Path) -> None:
    from yolowatch.hands import detached

    starter = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(detached.__file__).with_name("starter.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={},
    )
    assert starter.stdin is not None
    assert starter.stdout is not None
    starter.stdin.write(b"2\n{}")
    starter.stdin.flush()
    key = process_key(int(starter.stdout.readline()))
    starter.stdin.close()
    assert key is not None
    settle(lambda: is_alive(key) is False)
    assert starter.stdout.read() == b""
    starter.stdout.close()
    starter.wait()


def test_the_orders_are_on_no_command_line(place: Path) -> None:
    """The starter's own arguments and environment are what everybody, or its user, may read."""
    with captured_from(place) as captured:
        pass
    with started(captured, place):
        pass
    from yolowatch.hands import detached

    source = Path(detached.__file__).read_text()
    assert '[sys.executable, "-I", "-S", str(_STARTER)]' in source
    assert "env={}" in source


def test_it_outlives_who_started_it(place: Path) -> None:
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from yolowatch.edges import capture, proc\n"
        "from yolowatch.hands.detached import start_detached\n"
        "c = capture.capture(proc.process_key(int(sys.argv[1])))\n"
        f"k = start_detached(c, c.argv, c.environment, unit={UNIT!r}, fallback_log=Path('/x/y'))\n"
        "print(k.pid, k.start_ticks, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    with stranger(SAY, place) as other:
        settle(lambda: asleep(other.key))
        done = subprocess.run(
            [sys.executable, "-c", program, str(other.key.pid)], capture_output=True, text=True
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        pid, ticks = map(int, done.stdout.split())
        process = ProcessKey(other.key.boot_id, pid, ticks)
        assert is_alive(process)
        end(process)


@pytest.mark.parametrize(
    ("cgroups", "expected"),
    [
        ((("", "/user.slice/user-1000.slice/session-3.scope"),), "user-1000.slice"),
        ((("", "/user.slice/user-7.slice/user@7.service/app.slice/a.scope"),), "user-7.slice"),
        ((("memory", "/x.slice"), ("name=systemd", "/system.slice/a.service")), "system.slice"),
        ((("", "/"),), None),
    ],
)
def test_its_slice_stays_the_same(
    place: Path, cgroups: tuple[tuple[str, str], ...], expected: str | None
) -> None:
    with captured_from(place) as captured:
        pass
    assert slice_of(replace(captured, cgroups=cgroups)) == expected
