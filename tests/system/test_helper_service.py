"""The helper under a real systemd: activated by its socket, outlived by what it started."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.parts import RunDir
from tests.hands.helping import TRAINER
from tests.hands.strangers import settle
from tests.system.machine import Machine, machine, missing

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(1200),  # the first one builds the package and may build a Debian
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]
UNITS = Path(__file__).resolve().parents[2] / "systemd"
CORE = Path(__file__).parent / "programs" / "core.py"


@pytest.fixture(scope="module")
def booted() -> Iterator[Machine]:
    with machine() as found:
        found.run("systemctl start yolowatch-helper.socket yolowatch-starter.socket")
        yield found


def begin(booted: Machine, user: str) -> int:
    """A training that a user has begun in a unit of their own slice; its pid in there."""
    home = booted.root / "home" / user
    RunDir(home / "run")
    shutil.copy(TRAINER, home / "train.py")
    (home / "train.log").touch()  # the user's own: what systemd makes is root's
    booted.run(f"chown -R {user}: /home/{user}")
    booted.run(
        f"systemd-run --uid={user} --slice=user-1001.slice --unit=first-{user}"
        f" --working-directory=/home/{user} -p StandardOutput=append:/home/{user}/train.log"
        f" -p LimitNOFILE=300 --setenv=SECRET=s3cret /usr/bin/python3 train.py /home/{user}/run"
    )
    settle(lambda: (home / "train.log").exists() and (home / "train.log").read_text() != "")
    return int(booted.run(f"systemctl show -P MainPID first-{user}"))


def cgroup(booted: Machine, pid: int) -> str:
    lines = booted.run(f"cat /proc/{pid}/cgroup").splitlines()
    return next(line for line in lines if line.startswith("0::") or ":name=systemd:" in line)


def confinement(booted: Machine, pid: int) -> dict[str, str]:
    """What a process is confined by; the machine's own filter of system calls is among it."""
    lines = booted.run(f"cat /proc/{pid}/status").splitlines()
    found = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {name: found[name] for name in ("NoNewPrivs", "Seccomp", "Seccomp_filters", "CapBnd")}


def as_user(name: str, command: str) -> str:
    return f"setpriv --reuid={name} --regid={name} --clear-groups {command}"


def test_the_units_are_understood() -> None:
    """It ends well for unknown keys, too, so it must say nothing."""
    units = sorted(str(path) for path in UNITS.glob("yolowatch-helper.*"))
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "not executable" not in line]
    assert [line for line in said if "yolowatch" in line and "man " not in line] == []


def test_a_training_outlives_the_service_that_started_it(
    booted: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    pid = begin(booted, "alice")
    before_it = confinement(booted, pid)
    shutil.copy(CORE, booted.root / "usr/lib/core.py")
    ask = f"/usr/lib/yolowatch/bin/python /usr/lib/core.py {pid} /home/alice/run"
    refused = booted.run(as_user("bob", ask), check=False)
    assert "Permission denied" in refused
    said = booted.run(as_user("yolowatch", ask))
    again = int(said.splitlines()[-1])
    before = cgroup(booted, again)
    assert before.endswith("/user-1001.slice/yolowatch-r1-1.scope")
    assert confinement(booted, again) == before_it  # nothing of the helper's sandbox is in it
    links = "readlink /proc/%d/ns/mnt /proc/%d/ns/net"
    assert booted.run(links % (again, again)) == booted.run(links % (1, 1))
    log = booted.root / "home/alice/train.log"
    settle(lambda: log.read_text() == "attempt 0 of 1001 s3cret\nattempt 1 of 1001 s3cret\n")
    tree = booted.run(
        "systemd-cgls --no-pager -u user-1001.slice yolowatch-helper.service", check=False
    )
    helper = booted.run("systemctl show -P MainPID yolowatch-helper.service")
    confined = confinement(booted, int(helper))
    assert confined["NoNewPrivs"] == "1"
    assert int(confined["Seccomp_filters"]) > int(before_it["Seccomp_filters"])
    assert cgroup(booted, int(helper)).endswith("/system.slice/yolowatch-helper.service")
    for command in ("stop", "restart", "kill --kill-whom=main -s KILL", "stop"):
        booted.run(f"systemctl {command} yolowatch-helper.service")
        assert booted.says(f"kill -0 {again}"), command
        assert cgroup(booted, again) == before
    assert "s3cret" not in booted.run("journalctl --no-pager -u yolowatch-helper.service")
    properties = booted.run("systemctl show yolowatch-r1-1.scope")
    assert "s3cret" not in properties
    assert "Environment=" not in properties
    with capsys.disabled():
        print(f"\n{tree}after the service was stopped: {before}")
    booted.run("systemctl stop yolowatch-r1-1.scope")
    settle(lambda: not booted.says(f"kill -0 {again}"))
