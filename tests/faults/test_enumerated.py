"""Faults, one test each: what the machine, the user and the kernel may do to a run.

Where torch makes no difference the training is played (tests/commands/programs/puppet.py); socket,
journal, vault, files and processes are real. What is killed is in test_kill_matrix.py, what is
hostile in test_fuzz.py; a file that is edited in mid-plan, at the moment of its replacement, is in
tests/hands/test_executor.py too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.door import PUPPET, Door, until
from tests.commands.test_healing import ORIGINAL, edits, epochs
from tests.daemon.parts import Bench, FakeClock
from tests.daemon.scenes import Scene
from tests.faults.service import CONFIGURATION, Service
from tests.faults.service import until as within
from yolowatch.edges import proc
from yolowatch.edges.journal import Journal
from yolowatch.edges.nvml import DeviceReading, GpuProcess
from yolowatch.hands.local import LocalHands
from yolowatch.hands.memory import wait_for_memory
from yolowatch.model import events
from yolowatch.model.actions import STEPS
from yolowatch.model.plan import Start
from yolowatch.model.receipt import ResumePoint

pytestmark = [pytest.mark.faults, pytest.mark.slice]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and unshare")
RESUME = ResumePoint(Start.RESUME, "whole", None, 3)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    home = tmp_path / "home"
    home.mkdir()
    door = Door(home)
    yield door
    for process in door.started:
        process.kill()
        process.wait()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "train"


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A real file system of this size."""
    path.mkdir(parents=True)
    subprocess.run(("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path), check=True)
    try:
        yield path
    finally:
        subprocess.run(("umount", "-l", path), check=True)


def fill(disk: Path) -> None:
    """Leave no room on it."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


# ---------------------------------------------------------------- files and disks


def test_a_truncated_checkpoint_is_replaced_from_the_vault(door: Door, run_dir: Path) -> None:
    done = door("run", "--", *PUPPET, run_dir, "--tear")
    assert done.returncode == 0, done.stderr
    assert "the copy in the vault took its place" in door.receipts()[-1].body["resume"]["reason"]
    assert epochs(run_dir) == ["1", "2"]


@needs_root
def test_a_full_disk_under_the_journal_changes_nothing(
    door: Door, run_dir: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "state", "4m") as disk, (tmp_path / "log").open("w") as log:
        os.chmod(disk, 0o700)
        go = tmp_path / "go"
        command = ("run", "--state-dir", disk, "--", *PUPPET, run_dir, "--hold", go)
        process = door.start(*command, stderr=log)
        until(lambda: list(run_dir.glob(".yolowatch/checkpoints/*.pt")))
        fill(disk)
        go.touch()
        assert process.wait(60) == 1, "the training's own status"
    said = (tmp_path / "log").read_text()
    assert "cannot be written because the disk is full" in said
    assert "not restarted: the journal cannot be written" in said
    assert (run_dir / "args.yaml").read_text() == ORIGINAL
    assert not (run_dir / "attempt-1.json").exists()


@needs_root
def test_a_disk_without_room_for_a_copy_of_the_checkpoint_heals_without_one(
    door: Door, run_dir: Path
) -> None:
    with small_disk(run_dir, "2m"):  # the vault leaves more than that free
        done = door("run", "--", *PUPPET, run_dir)
        assert done.returncode == 0, done.stderr
        assert "a checkpoint was not copied to the vault" in done.stderr
        assert epochs(run_dir) == ["1", "2"]


@needs_root
def test_a_full_disk_while_the_configuration_is_rewritten_leaves_it(
    door: Door, run_dir: Path, tmp_path: Path
) -> None:
    with small_disk(run_dir, "2m") as disk, (tmp_path / "log").open("w") as log:
        go = tmp_path / "go"
        process = door.start("run", "--", *PUPPET, run_dir, "--hold", go, stderr=log)
        until(lambda: (run_dir / "weights" / "last.pt").exists())
        until(lambda: "was not copied" in (tmp_path / "log").read_text())
        fill(disk)
        go.touch()
        assert process.wait(60) == 1
        said = (tmp_path / "log").read_text()
        assert "the remediation was abandoned: rewrite:" in said
        assert "has 0 bytes left" in said or "No space left on device" in said
        assert (run_dir / "args.yaml").read_text() == ORIGINAL
        assert not (run_dir / "attempt-1.json").exists()


def test_what_a_user_writes_in_mid_plan_is_never_lost(tmp_path: Path) -> None:
    """Edits come at any moment of the rewriting; each is either in the file or refused the plan."""
    bench = Bench(tmp_path)
    replaced, take = 0, bench.vaults.of(str(bench.dir.path))
    store = take.store_file

    def edited_meanwhile(path: Path) -> object:
        nonlocal replaced
        stored = store(path)
        if replaced < 2:
            replaced += 1
            path.write_text(f"{path.read_text()}# edit {replaced}\n")
        return stored

    take.store_file = edited_meanwhile  # type: ignore[method-assign,assignment]
    bench.done("rewrite", RESUME)
    text = bench.dir.args.read_text()
    assert text.endswith("# edit 1\n# edit 2\n")
    assert bench.dir.configuration()["batch"] == 8


# ---------------------------------------------------------------- processes


@needs_root
def test_a_reused_pid_is_nobody_we_know(tmp_path: Path) -> None:
    """In a pid namespace the kernel can be made to give the same pid again."""
    program = Path(__file__).with_name("programs") / "reuse_pid.py"
    done = subprocess.run(
        ("unshare", "--pid", "--fork", "--mount-proc", sys.executable, program),
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "same pid True, alive False, signalled False, the other lives True\n"


def test_a_zombie_does_not_hold_a_plan_up(tmp_path: Path) -> None:
    child = subprocess.Popen((sys.executable, "-c", "pass"))
    key = proc.process_key(child.pid)
    assert key is not None
    until(lambda: proc.is_alive(key) is False)
    try:
        assert Path(f"/proc/{child.pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
        clock = FakeClock()
        bench = Bench(tmp_path, hands=LocalHands(), clock=clock)
        bench.done("stop", processes=(key,))
        assert clock.now == FakeClock().now, "it was not waited for"
    finally:
        child.wait()


def test_a_stopped_training_is_ended_and_resumed(door: Door, run_dir: Path) -> None:
    """SIGTERM does not wake a process that SIGSTOP holds; SIGKILL does."""
    policy = door.home / "policy.yaml"
    policy.write_text("exit_grace_seconds: 1\nkill_grace_seconds: 1\n")
    done = door("run", "--policy", policy, "--", *PUPPET, run_dir, "--stopped")
    assert done.returncode == 0, done.stderr
    assert "it did not end on SIGTERM: SIGKILL" in done.stderr
    assert epochs(run_dir) == ["1", "2"]


def test_a_training_that_is_stopped_for_a_while_is_left_alone(
    door: Door, run_dir: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    process = door.start("run", "--", *PUPPET, run_dir, "--hold", go, stderr=subprocess.PIPE)
    until(lambda: (run_dir / "attempt-0.json").exists())
    (training,) = proc.descendants(process.pid)
    os.kill(training.pid, signal.SIGSTOP)
    until(lambda: Path(f"/proc/{training.pid}/stat").read_text().rpartition(") ")[2][0] == "T")
    go.touch()
    time.sleep(2.5)  # some ticks of the loop
    assert proc.is_alive(training)
    assert door.last_run().ended is None
    os.kill(training.pid, signal.SIGCONT)
    assert process.communicate(timeout=60)[1].count("attempt 1 resumed") == 1
    assert process.returncode == 0
    assert edits(run_dir, 1)["batch"] == 8


@needs_root
def test_an_unreadable_proc_starts_and_ends_nothing(door: Door, run_dir: Path) -> None:
    """Without /proc nobody can be told apart: that is said before anything is started."""
    hidden = 'mount -t tmpfs tmpfs /proc && exec "$@"'
    command = door.command("run", "--", *PUPPET, run_dir)
    done = subprocess.run(
        ("unshare", "-m", "sh", "-c", hidden, "sh", *command),
        env=door.variables(), cwd=door.home, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode in range(120, 126), done
    assert "/proc must be mounted" in done.stderr
    assert not (run_dir / "attempt-0.json").exists()
    asked = (
        "import os\n"
        "from yolowatch.edges import proc\n"
        "from yolowatch.model.identity import ProcessKey\n"
        "print(proc.process_key(os.getpid()), proc.is_alive(ProcessKey('b', os.getpid(), 1)))\n"
    )
    done = subprocess.run(
        ("unshare", "-m", "sh", "-c", hidden, "sh", sys.executable, "-c", asked),
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "None None\n", "unknown, which is neither alive nor dead"


@needs_root
def test_a_run_in_a_container_with_its_own_pids_is_healed(door: Door, run_dir: Path) -> None:
    """The training's pids are others than ours; the kernel says which process speaks."""
    inside = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    command = door.command("run", "--", *PUPPET, run_dir)
    done = subprocess.run(
        (*inside, *command),
        env=door.variables(), cwd=door.home, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert epochs(run_dir) == ["1", "2"]


@needs_root
def test_a_training_in_another_pid_namespace_is_known_by_our_pids(
    door: Door, run_dir: Path
) -> None:
    """`unshare` stands in for a container that somebody starts under `yolowatch run`."""
    inside = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    done = door("run", "--", *inside, *PUPPET, run_dir)
    assert done.returncode == 1, "the training was started by another program: unshare"
    assert "was started by another program" in done.stderr
    assert not (run_dir / "attempt-1.json").exists()
    assert (run_dir / "args.yaml").read_text() == ORIGINAL


# ---------------------------------------------------------------- time, devices, configuration


class Jumping:
    """A wall clock that is set back by a year each time it is asked."""

    def __init__(self) -> None:
        self._now = 1e9

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        self._now -= 365 * 86400.0
        return self._now

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def test_a_clock_that_jumps_changes_neither_the_order_nor_the_costs(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.journal.close()
    scene.journal._clock = Jumping()
    scene.journal._connection = Journal(scene.journal.path, Jumping())._connection
    scene.start()
    scene.train()
    scene.run_out_of_memory()
    for _ in STEPS:
        scene.at += 2.0
        scene.done()
    (plan,) = scene.plans()
    names = [step.name for step in plan.steps if step.state == "done"]
    assert names == list(STEPS)
    times = [step.at for step in plan.steps]
    assert times == sorted(times, reverse=True), "the clock did jump"
    (receipt,) = scene.core.healing.receipts
    for cost in (receipt.costs.restart_seconds, receipt.costs.memory_wait_seconds):
        assert cost is not None
        assert cost >= 0
    assert scene.outcomes()[0] == "cuda-oom"


class Hung:
    """A driver of which the first question is never answered."""

    reason = None

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.released = threading.Event()

    def devices(self) -> tuple[DeviceReading, ...]:
        self.asked.set()
        self.released.wait()
        return (DeviceReading(0),)

    def processes(self, index: int) -> tuple[GpuProcess, ...] | None:
        return ()

    def close(self) -> None:
        self.released.set()


def test_a_hung_driver_costs_the_wait_and_no_more(tmp_path: Path) -> None:
    driver, clock = Hung(), FakeClock()
    bench = Bench(tmp_path, nvml=driver, clock=clock, device="cuda:0")
    try:
        answer = bench.do("wait")
        assert driver.asked.is_set()
        assert isinstance(answer, events.StepDone)
        assert "not seen to be back in time" in answer.detail
        assert clock.now - FakeClock().now >= 120, "all of what the policy allows"
        living = [t for t in threading.enumerate() if t.name.startswith("Thread") and t.is_alive()]
        assert len([t for t in living if "_ask" in t.name]) <= 1, "one question at a time"
    finally:
        driver.close()
    assert "is back" in wait_for_memory("cuda:0", [], driver, FakeClock(), 3.0)


@pytest.mark.usefixtures("scene")
def test_a_configuration_broken_during_reload_is_not_taken(scene: object) -> None:
    service = Service(scene)  # type: ignore[arg-type]
    configuration = service.scene.root / "yolowatch.yaml"
    try:
        service.start()
        for broken in ("mode: [auto", "mode: aut\n", "\0\0", "users: 7\n"):
            said = service.log.count("the configuration stays as it was")
            configuration.write_text(broken)
            within(
                lambda said=said: service.log.count("configuration stays as it was") > said,
                f"{broken!r} is refused",
            )
            assert not service.ended
        configuration.write_text(CONFIGURATION)
        within(lambda: "was read again and is in force" in service.log, "the good one is taken")
    finally:
        service.close()
