"""What cannot be attached to: each its own sentence and exit code, and the target unharmed."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edges.attach.targets import BUSY, means, python, running
from yolowatch import errors
from yolowatch.edges.attach.entering import attach, detach
from yolowatch.model.attach import AttachPolicy

REPOSITORY = Path(__file__).resolve().parents[3]
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="another user needs root")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[str]]:
    """A Python whose main thread sleeps in C, and never wakes by itself."""
    program = "import ctypes; print('ready', flush=True); ctypes.CDLL(None).pause()"
    process = subprocess.Popen((sys.executable, "-c", program), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()


def test_no_such_process(tmp_path: Path) -> None:
    done = subprocess.Popen(("true",))
    done.wait()
    with pytest.raises(errors.ProcessMissingError, match="There is no process"):
        attach(done.pid, means(tmp_path))


def test_a_zombie_is_no_process(tmp_path: Path) -> None:
    process = subprocess.Popen(("true",))
    while "State:\tZ" not in Path(f"/proc/{process.pid}/status").read_text():
        time.sleep(0.01)
    with pytest.raises(errors.ProcessMissingError):
        attach(process.pid, means(tmp_path))
    process.wait()


def test_no_python(tmp_path: Path) -> None:
    process = subprocess.Popen(("sleep", "60"))
    try:
        with pytest.raises(errors.NoPythonError, match="runs no Python"):
            attach(process.pid, means(tmp_path))
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_an_old_python(tmp_path: Path) -> None:
    found = sorted((Path.home() / ".pyenv" / "versions").glob("3.[67].*/bin/python"))
    if not found:
        pytest.skip("no Python older than 3.8 here")
    process = subprocess.Popen((found[0], "-c", "import math, time; time.sleep(60)"))
    try:
        while "lib-dynload" not in Path(f"/proc/{process.pid}/maps").read_text():
            time.sleep(0.01)
        with pytest.raises(errors.NoPythonError, match=r"older than 3\.8"):
            attach(process.pid, means(tmp_path))
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_yolowatch_itself(tmp_path: Path) -> None:
    with pytest.raises(errors.OwnProcessError, match="is yolowatch itself"):
        attach(os.getpid(), means(tmp_path))
    command = (sys.executable, "-m", "yolowatch", "run", "--state-dir", str(tmp_path / "own"))
    process = subprocess.Popen((*command, "--", "sleep", "60"), stderr=subprocess.DEVNULL)
    try:
        with pytest.raises(errors.OwnProcessError):
            attach(process.pid, means(tmp_path))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_a_process_that_is_traced_already(tmp_path: Path) -> None:
    libc = ctypes.CDLL(None)
    with running((sys.executable, str(BUSY))) as target:
        traced, done = threading.Event(), threading.Event()

        def trace() -> None:  # until this thread ends
            assert libc.ptrace(0x4206, target.pid, None, None) == 0
            traced.set()
            done.wait()

        tracer = threading.Thread(target=trace)
        tracer.start()
        traced.wait()
        with pytest.raises(errors.ProcessTracedError, match="is traced by process"):
            attach(target.pid, means(tmp_path))
        done.set()
        tracer.join()
        target.end()


def test_asleep_in_c_is_pending(tmp_path: Path, sleeper: subprocess.Popen[str]) -> None:
    """It is said to be pending; when it wakes the hook is there, and it is unharmed."""
    with pytest.raises(errors.PendingAttach, match="sleeps outside of Python"):
        attach(sleeper.pid, means(tmp_path, seconds=1.0))
    assert sleeper.poll() is None
    sleeper.send_signal(signal.SIGCONT)  # which wakes it, and harms nobody
    assert "State:\tS" in Path(f"/proc/{sleeper.pid}/status").read_text()


def test_stopped_is_pending_until_it_is_continued(tmp_path: Path) -> None:
    with running((sys.executable, str(BUSY))) as target:
        target.process.send_signal(signal.SIGSTOP)
        while "State:\tT" not in Path(f"/proc/{target.pid}/status").read_text():
            time.sleep(0.01)
        with pytest.raises(errors.PendingAttach, match="is stopped"):
            attach(target.pid, means(tmp_path, seconds=0.5))
        assert "State:\tT" in Path(f"/proc/{target.pid}/status").read_text()
        target.process.send_signal(signal.SIGCONT)
        for _ in range(500):
            if "yolowatch-hook" in target.state()["threads"]:
                break
            time.sleep(0.01)
        else:
            pytest.fail("the hook did not come")
        target.end()


def test_remote_debugging_is_forbidden(tmp_path: Path) -> None:
    with running((python(14), "-X", "disable-remote-debug", str(BUSY))) as target:
        with pytest.raises(errors.RemoteDebugError, match="disable-remote-debug"):
            attach(target.pid, means(tmp_path))
        target.end()


def test_the_configuration_permits_nothing(tmp_path: Path) -> None:
    with running((sys.executable, str(BUSY))) as target:
        for policy in (AttachPolicy.NONE, AttachPolicy.PRELOADED):
            with pytest.raises(errors.NoWayError, match=f"attach: {policy.value}"):
                attach(target.pid, means(tmp_path, policy=policy))
        target.end()


def test_there_is_no_hook_to_detach(tmp_path: Path) -> None:
    with running((sys.executable, str(BUSY))) as target:
        with pytest.raises(errors.HookStaysError, match="there is no hook in this process"):
            detach(target.pid, means(tmp_path))
        assert target.state()["modules"] == []
        target.end()


def test_plans_changes_keep_the_hook(tmp_path: Path) -> None:
    edits = {**os.environ, "YOLOWATCH_EDITS": '{"start": "resume", "batch": 2}'}
    with running((sys.executable, str(BUSY)), env=edits) as target:
        attach(target.pid, means(tmp_path))
        with pytest.raises(errors.HookStaysError, match="changes of a plan"):
            detach(target.pid, means(tmp_path))
        assert "yolowatch-hook" in target.state()["threads"]
        target.end()


@pytest.fixture
def common() -> Iterator[Path]:
    """A directory that every user can read; pytest closes its own to others."""
    folder = Path(tempfile.mkdtemp(prefix="yolowatch-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(common: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of yolowatch by an unprivileged user, who can read this tree's copy of it."""
    tree, home = common / "tree", common / "home"
    shutil.copytree(REPOSITORY / "yolowatch", tree / "yolowatch")
    home.mkdir(mode=0o700)
    os.chown(home, 65534, 65534)
    packages = [p for p in sys.path if p.endswith("site-packages")]
    return subprocess.run(
        ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")
        + ("/usr/bin/python3", "-m", "yolowatch", *words),
        env={"PYTHONPATH": ":".join([str(tree), *packages]), "HOME": str(home), "PATH": "/usr/bin"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


@ROOT_ONLY
def test_another_users_process(common: Path) -> None:
    with running((sys.executable, str(BUSY))) as target:
        done = as_nobody(common, "attach", str(target.pid))
        assert done.returncode == errors.ProcessForbiddenError.exit_code, done.stderr
        assert "belongs to root: only they, or root" in done.stderr
        target.end()


@ROOT_ONLY
def test_root_attaches_to_a_users_process(tmp_path: Path, common: Path) -> None:
    program = shutil.copy(BUSY, common)
    user = {"user": 65534, "group": 65534, "extra_groups": []}
    with running(("/usr/bin/python3", program), cwd="/", **user) as target:
        met = attach(target.pid, means(tmp_path))
        assert met.hello["pid"] == target.pid
        detach(target.pid, means(tmp_path))
        assert target.state()["modules"] == []
        target.end()


@ROOT_ONLY
def test_a_process_with_its_own_pid_namespace(tmp_path: Path) -> None:
    """It believes to be another number; the kernel tells us ours."""
    command = ("unshare", "--pid", "--fork", "--kill-child", sys.executable, str(BUSY))
    with running(command) as outer:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        pid = int(children[0])
        met = attach(pid, means(tmp_path))
        assert met.hello["pid"] == 1
        detach(pid, means(tmp_path))
        outer.end()


@ROOT_ONLY
def test_a_container_without_the_staged_hook(tmp_path: Path) -> None:
    hidden = tmp_path / "state"
    hidden.mkdir(mode=0o700)
    script = f'mount -t tmpfs none {hidden} && exec "$@"'
    command = ("unshare", "--mount", "sh", "-c", script, "sh", sys.executable, str(BUSY))
    with running(command) as target:
        with pytest.raises(errors.NoWayError, match="container that does not see"):
            attach(target.pid, means(tmp_path))
        target.end()


def test_each_cause_has_a_code_of_its_own() -> None:
    codes = [each.exit_code for each in errors.ATTACHING]
    assert codes == sorted(set(codes))
    assert all(110 <= code < 120 for code in codes)
