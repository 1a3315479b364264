"""Hands on real processes."""

from __future__ import annotations

import os
import queue
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from yolowatch.edges.clock import SystemClock
from yolowatch.edges.proc import is_alive, process_key
from yolowatch.errors import LaunchError
from yolowatch.hands.local import LocalHands
from yolowatch.hands.port import Hands, Launched
from yolowatch.model.events import Event, ProcessExited

ENVIRONMENT = {"PATH": os.environ["PATH"], "GIVEN": "yes"}


class Supervisor:
    """Launches with the real hands and waits for the exit as the core would."""

    def __init__(self, hands: Hands) -> None:
        self.hands = hands
        self.exits: queue.Queue[Event] = queue.Queue()

    def launch(self, *command: str, cwd: Path = Path("/")) -> Launched:
        launched = self.hands.launch(command, ENVIRONMENT, cwd)
        self.hands.watch(launched, self.post)
        return launched

    def post(self, event: Event) -> bool:
        self.exits.put(event)
        return True

    def exit(self) -> ProcessExited:
        event = self.exits.get(timeout=20)
        assert isinstance(event, ProcessExited)
        return event

    def run(self, *command: str, cwd: Path = Path("/")) -> ProcessExited:
        launched = self.launch(*command, cwd=cwd)
        event = self.exit()
        assert event.process == launched.process
        return event


@pytest.fixture
def supervisor() -> Supervisor:
    return Supervisor(LocalHands())


def python(program: str) -> Sequence[str]:
    return (sys.executable, "-c", textwrap.dedent(program))


def report(path: Path, what: str) -> Sequence[str]:
    """A command that writes what it sees of itself to a file."""
    return python(f"import os, sys, signal, resource; open({str(path)!r}, 'w').write(str({what}))")


def settle(predicate: Callable[[], bool]) -> None:
    clock = SystemClock()
    end = clock.monotonic() + 10
    while not predicate():
        assert clock.monotonic() < end, "did not happen within 10 s"
        clock.sleep(0.005)


@pytest.mark.parametrize("status", [0, 1, 42, 120, 255])
def test_the_exit_status_is_passed_on(supervisor: Supervisor, status: int) -> None:
    event = supervisor.run(*python(f"raise SystemExit({status})"))
    assert (event.status, event.signal) == (status, None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGHUP])
def test_a_death_by_signal_is_told_apart(supervisor: Supervisor, number: int) -> None:
    event = supervisor.run(*python(f"import os; os.kill(os.getpid(), {int(number)})"))
    assert (event.status, event.signal) == (None, number)


def test_it_stands_where_a_shell_would_have_put_it(supervisor: Supervisor, tmp_path: Path) -> None:
    out = tmp_path / "out"
    what = "[os.getpgrp(), os.getsid(0), os.getppid(), os.getcwd(), dict(os.environ)['GIVEN']]"
    supervisor.run(*report(out, what), cwd=tmp_path)
    expected = [os.getpgrp(), os.getsid(0), os.getpid(), str(tmp_path), "yes"]
    assert out.read_text() == str(expected)


def test_nothing_of_the_supervisors_environment_leaks(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    supervisor.run(*report(tmp_path / "out", "sorted(os.environ)"))
    assert "SECRET" not in (tmp_path / "out").read_text()


def test_signals_are_as_in_a_fresh_shell(supervisor: Supervisor, tmp_path: Path) -> None:
    """Blocked here and handled here, but neither there."""
    out = tmp_path / "out"
    what = "[sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), [str(signal.getsignal(n)) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD)]]"  # noqa: E501
    old = signal.signal(signal.SIGUSR1, lambda *_: None)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    try:
        supervisor.run(*report(out, what))
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert {signal.SIGTERM, signal.SIGUSR1} <= blocked, "the caller's mask is as it was"
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR1, old)
    default = str(signal.Handlers.SIG_DFL)
    assert out.read_text() == str([[], [default, default, default]])


def test_a_launch_delivers_no_blocked_signal_and_moves_nobody(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    here, arrived = os.getcwd(), []
    old = signal.signal(signal.SIGUSR1, lambda *_: arrived.append(1))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        for cwd in (Path.cwd(), tmp_path):
            assert supervisor.run("true", cwd=cwd).status == 0
        assert signal.SIGUSR1 in signal.sigpending()
        assert not arrived
        assert os.getcwd() == here
        signal.sigwait({signal.SIGUSR1})
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR1, old)


def test_what_nohup_ignores_stays_ignored_and_a_broken_pipe_does_not(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    show = f"grep SigIgn /proc/self/status > {out}"
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        supervisor.run("/bin/sh", "-c", show)
    finally:
        signal.signal(signal.SIGHUP, old)
    ignored = int(out.read_text().split()[1], 16)
    assert ignored & (1 << (signal.SIGHUP - 1))
    assert not ignored & (1 << (signal.SIGPIPE - 1)), "Python's own habit is not passed on"


def test_open_descriptors_and_limits_are_inherited(supervisor: Supervisor, tmp_path: Path) -> None:
    """`--data <(command)` gives the training a descriptor beyond the first three."""
    out = tmp_path / "out"
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    read, write = os.pipe()
    os.set_inheritable(read, True)
    private = os.open("/dev/null", os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    try:
        supervisor.run(
            *report(
                out,
                "[sorted(os.listdir('/proc/self/fd'), key=int), resource.getrlimit(4)[0]]",
            )
        )
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
        for each in (read, write, private):
            os.close(each)
    text = out.read_text()
    assert f"'{read}'" in text
    assert f"'{write}'" not in text
    assert f"'{private}'" not in text
    assert text.endswith(", 0]")


def test_a_signal_reaches_this_very_process_only(supervisor: Supervisor) -> None:
    launched = supervisor.launch("sleep", "60")
    somebody_else = replace(launched.process, start_ticks=launched.process.start_ticks + 1)
    assert not supervisor.hands.signal(somebody_else, signal.SIGKILL), "a reused pid"
    assert is_alive(launched.process)
    assert supervisor.hands.signal(launched.process, signal.SIGTERM)
    assert supervisor.exit().signal == signal.SIGTERM
    assert not supervisor.hands.signal(launched.process, signal.SIGKILL), "gone"


def test_a_process_of_another_parent_can_be_signalled(supervisor: Supervisor) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        key = process_key(other.pid)
        assert key is not None
        assert not supervisor.hands.signal(replace(key, boot_id="before"), signal.SIGKILL)
        assert supervisor.hands.signal(key, signal.SIGKILL)
        assert other.wait() == -signal.SIGKILL
    assert not supervisor.hands.signal(key, signal.SIGKILL)


def test_a_zombie_is_signalled_in_vain_and_reaped_once(supervisor: Supervisor) -> None:
    launched = supervisor.hands.launch(["true"], ENVIRONMENT, Path("/"))
    settle(lambda: is_alive(launched.process) is False)
    assert process_key(launched.process.pid) == launched.process, "not reaped before it is watched"
    assert supervisor.hands.signal(launched.process, signal.SIGTERM)  # the kernel takes it, no more
    supervisor.hands.watch(launched, supervisor.post)
    assert supervisor.exit().status == 0
    assert process_key(launched.process.pid) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(launched.pidfd)


def test_another_started_process_takes_no_status_away(supervisor: Supervisor) -> None:
    launched = supervisor.launch("sh", "-c", "exit 7")
    settle(lambda: is_alive(launched.process) is not True)
    for _ in range(3):  # `subprocess` reaps forgotten children when it starts another
        subprocess.run(["true"], check=True)
    assert supervisor.exit().status == 7


def test_a_status_that_another_reaped_is_unknown(supervisor: Supervisor) -> None:
    launched = supervisor.hands.launch(["true"], ENVIRONMENT, Path("/"))
    os.waitpid(launched.process.pid, 0)
    supervisor.hands.watch(launched, supervisor.post)
    event = supervisor.exit()
    assert (event.status, event.signal) == (None, None)


def test_an_exit_waits_for_room_in_the_queue() -> None:
    refusals, came = [], threading.Event()

    def post(event: Event) -> bool:
        if len(refusals) < 3:
            refusals.append(event)
            return False
        came.set()
        return True

    hands = LocalHands()
    hands.watch(hands.launch(["true"], ENVIRONMENT, Path("/")), post)
    assert came.wait(20)


def test_many_at_once_each_with_its_own_end(supervisor: Supervisor) -> None:
    before = len(os.listdir("/proc/self/fd"))
    launched = {supervisor.launch("sh", "-c", f"exit {n}").process: n for n in range(40)}
    for _ in range(40):
        event = supervisor.exit()
        assert launched.pop(event.process) == event.status
    assert len(os.listdir("/proc/self/fd")) == before, "no descriptor is left open"


def test_ignored_child_signals_do_not_lose_the_status(tmp_path: Path) -> None:
    program = """
        import queue, signal
        from pathlib import Path
        from yolowatch.hands.local import LocalHands
        events = queue.Queue()
        hands = LocalHands()
        launched = hands.launch(["sh", "-c", "exit 9"], {"PATH": "/bin:/usr/bin"}, Path("/"))
        hands.watch(launched, lambda event: events.put(event) or True)
        print(events.get(timeout=20).status)
    """
    done = subprocess.run(
        ["env", "--ignore-signal=CHLD", *python(program)],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("this env knows no --ignore-signal")
    assert done.stdout == "9\n", done.stderr


def test_the_training_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    program = """
        import sys, time
        from pathlib import Path
        from yolowatch.hands.local import LocalHands
        hands = LocalHands()
        launched = hands.launch(["sleep", "60"], {"PATH": "/bin:/usr/bin"}, Path("/"))
        hands.watch(launched, lambda event: True)
        print(launched.process.pid, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(
        python(program),
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as daemon:
        assert daemon.stdout is not None
        key = process_key(int(daemon.stdout.readline()))
        daemon.kill()
        daemon.wait()
        assert key is not None
        assert is_alive(key)
        assert LocalHands().signal(key, signal.SIGKILL)
        settle(lambda: not is_alive(key))


def executable(path: Path, content: str) -> Path:
    path.write_text(content)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_what_cannot_be_started_is_one_sentence(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("echo")
    (tmp_path / "folder").mkdir()
    executable(tmp_path / "script", "echo no first line")
    executable(tmp_path / "lost", "#!/no/such/interpreter\n")
    cases: list[tuple[Sequence[str], str]] = [
        ([], "There is no command to start"),
        (["no-such-command-here"], "is in no directory of PATH"),
        (["./missing"], "does not exist"),
        (["./plain"], r"is not executable: `chmod \+x"),
        (["./folder"], "is a directory"),
        (["./script"], "has no `#!` line"),
        (["./lost"], "the interpreter in its `#!` line does not exist"),
        (["true", "x" * 5_000_000], "too long together"),
        (["true", "a\0b"], "embedded null byte"),
    ]
    for command, sentence in cases:
        with pytest.raises(LaunchError, match=sentence) as caught:
            supervisor.hands.launch(command, ENVIRONMENT, tmp_path)
        assert str(caught.value).endswith(".")
    with pytest.raises(LaunchError, match="which is no directory"):
        supervisor.hands.launch(["true"], ENVIRONMENT, tmp_path / "gone")
    with pytest.raises(LaunchError, match="cannot be started"):
        supervisor.hands.launch(["true"], {**ENVIRONMENT, "A=B": ""}, tmp_path)
    with pytest.raises(LaunchError, match="is in no directory of PATH"):
        supervisor.hands.launch(["true"], {"PATH": "/nowhere"}, tmp_path)


def test_a_program_is_found_as_a_shell_finds_it(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "first" / "tool").mkdir(parents=True)  # a directory of that name is passed over
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "tool").write_text("not executable")
    (tmp_path / "third").mkdir()
    executable(tmp_path / "third" / "tool", "#!/bin/sh\necho $0 > out\n")
    path = ":".join(str(tmp_path / each) for each in ("first", "second")) + ":third:/bin:/usr/bin"
    launched = supervisor.hands.launch(["tool"], {"PATH": path}, tmp_path)
    supervisor.hands.watch(launched, supervisor.post)
    assert supervisor.exit().status == 0
    executable(tmp_path / "here.sh", "#!/bin/sh\necho $0 > out\n")
    assert supervisor.run("./here.sh", cwd=tmp_path).status == 0
    assert (tmp_path / "out").read_text() == "./here.sh\n"
