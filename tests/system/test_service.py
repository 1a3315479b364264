"""The service under a real systemd, from the Debian package, in a machine without a network."""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.daemon.parts import RunDir
from tests.hands.strangers import settle
from tests.system.machine import Machine, carried, machine, missing

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(1200),  # the first one builds the package and may build a Debian
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]
ROOT = Path(__file__).resolve().parents[2]
HOOK = Path(__file__).parent / "programs" / "hook.py"
ADDRESS = "/run/yolowatch/hook.sock"
UNITS = ("yolowatch.service", "yolowatch.socket", "yolowatch-helper.socket",
         "yolowatch-starter.socket")  # fmt: skip


# The tests in the machine are one installation's life, in this order.
@pytest.fixture(scope="module")
def bare() -> Iterator[tuple[Machine, set[str]]]:
    with machine(carried) as found:
        yield found, files(found)


@pytest.fixture(scope="module")
def booted(bare: tuple[Machine, set[str]]) -> Machine:
    found, _ = bare
    found.run("dpkg -i /root/yolowatch.deb")
    found.write("/etc/yolowatch/conf.d/test.yaml", "others_grace_seconds: 0\n")
    found.write("/etc/systemd/system/yolowatch.service.d/soon.conf", "[Service]\nRestartSec=2\n")
    found.run("systemctl daemon-reload")
    return found


def files(booted: Machine) -> set[str]:
    """What lies in the machine, but for logs, caches and what dpkg notes of every package."""
    unseen = "-path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/log"
    unseen += " -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/tmp -o -path /home"
    found = booted.run(
        f"find / \\( {unseen} \\) -prune -o -print; ls -d /run/yolowatch*", check=False
    )
    return {line for line in found.splitlines() if line.startswith("/")}


def main_pid(booted: Machine) -> int:
    return int(booted.run("systemctl show -P MainPID yolowatch"))


def is_up(booted: Machine) -> bool:
    return booted.says("systemctl is-active yolowatch") and main_pid(booted) > 0


def journal(booted: Machine) -> str:
    return booted.run("journalctl --no-pager -u yolowatch.service -o cat")


def status(booted: Machine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(booted.run("yolowatch status --json"))
    return found


def train(booted: Machine, user: str) -> int:
    """A training of a user's in a unit of their own; its pid."""
    home = booted.root / "home" / user
    library = booted.root / "var/lib/speaker"
    if not library.exists():
        shutil.copytree(ROOT / "yolowatch" / "hook", library / "yolowatch_hook")
    RunDir(home / "run")
    (home / "run/weights").mkdir(exist_ok=True)
    shutil.copy(HOOK, home / "hook.py")
    (home / "train.log").touch()
    booted.run(f"chown -R {user}: /home/{user}")
    booted.run(
        f"systemd-run --uid={user} --unit=train-{user}"
        f" -p StandardOutput=append:/home/{user}/train.log"
        f" --working-directory=/home/{user} /usr/bin/python3 hook.py {ADDRESS} /home/{user}/run"
    )
    settle(lambda: (home / "train.log").read_text() != "")
    return int(booted.run(f"systemctl show -P MainPID train-{user}"))


def runs(booted: Machine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = status(booted)["runs"]
    return found


# ---------------------------------------------------------------- without a machine


def test_the_units_are_understood() -> None:
    """`verify` ends well for unknown keys, too; of the programs it says that they lie elsewhere."""
    units = sorted(str(path) for path in (ROOT / "systemd").glob("yolowatch*.[st][eo][rc]*"))
    assert len(units) == 6
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "not executable" not in line]
    assert [line for line in said if "yolowatch" in line and "man " not in line] == []


@pytest.mark.parametrize(("unit", "threshold"), [("yolowatch", 25), ("yolowatch-helper", 35)])
def test_the_exposure_is_low_and_explained(unit: str, threshold: int) -> None:
    path = ROOT / "systemd" / f"{unit}.service"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={threshold}", path],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    open_points = {
        line.split()[1].partition("=")[0] for line in done.stdout.splitlines() if line[:1] == "✗"
    }
    explained = path.read_text().partition("[Unit]")[0]
    assert [each for each in open_points if each.partition("/")[0] not in explained] == []


# ---------------------------------------------------------------- in the machine


def test_installed_it_runs(booted: Machine) -> None:
    for unit in UNITS:
        assert booted.says(f"systemctl is-active {unit}"), unit
        assert booted.says(f"systemctl is-enabled {unit}"), unit
    pid = main_pid(booted)
    assert booted.run(f"stat -c %U /proc/{pid}") == "yolowatch\n"
    assert "NoNewPrivs:\t1\n" in booted.run(f"cat /proc/{pid}/status")
    assert "watching; hooks speak to /run/yolowatch/hook.sock" in journal(booted)
    assert booted.run("systemctl show -P StatusText yolowatch") == "runs: 0\n"
    assert status(booted)["mode"] == "recommend"
    said = booted.run(f"systemd-analyze verify {' '.join(UNITS)}", check=False)
    assert [line for line in said.splitlines() if "man yolowatch" not in line] == []


def test_a_reload_takes_a_good_configuration_and_keeps_the_old_for_a_bad_one(
    booted: Machine,
) -> None:
    pid = main_pid(booted)
    booted.write("/etc/yolowatch/conf.d/test.yaml", "mode: observe\nothers_grace_seconds: 0\n")
    booted.run("systemctl reload yolowatch")
    settle(lambda: status(booted)["mode"] == "observe")
    booted.write("/etc/yolowatch/conf.d/test.yaml", "mdoe: auto\n")
    assert not booted.says("systemctl reload yolowatch")
    assert "unknown key 'mdoe': did you mean 'mode'?" in journal(booted)
    assert booted.says("systemctl is-active yolowatch")
    settle(lambda: "stays as it was" in booted.run("systemctl show -P StatusText yolowatch"))
    assert status(booted)["mode"] == "observe"
    booted.write("/etc/yolowatch/conf.d/test.yaml", "others_grace_seconds: 0\n")
    booted.run("systemctl reload yolowatch")
    settle(lambda: status(booted)["mode"] == "recommend")
    assert main_pid(booted) == pid


def test_a_killed_daemon_takes_the_training_up_again(booted: Machine) -> None:
    """The address never goes: a hook connects while no daemon is there, and is heard later."""
    training = train(booted, "alice")
    settle(lambda: [run["state"] for run in runs(booted)] != [])
    run = runs(booted)[0]["run"]
    inode = booted.run(f"stat -c %i {ADDRESS}")
    before = main_pid(booted)
    booted.run("systemctl kill --kill-whom=main -s KILL yolowatch")
    settle(lambda: not is_up(booted))
    assert booted.run(f"stat -c %i {ADDRESS}") == inode
    log = booted.root / "home/alice/train.log"
    settle(lambda: log.read_text().count("connected") == 2)
    settle(lambda: is_up(booted) and main_pid(booted) != before, 60)
    assert booted.says(f"kill -0 {training}")
    settle(lambda: [each["run"] for each in runs(booted)] == [run])
    assert booted.run(f"stat -c %i {ADDRESS}") == inode
    booted.run("systemctl restart yolowatch")
    assert booted.run(f"stat -c %i {ADDRESS}") == inode
    settle(lambda: [each["run"] for each in runs(booted)] == [run])
    assert booted.says(f"kill -0 {training}")
    assert "no way" not in log.read_text()


def test_a_stalled_loop_is_ended_and_has_a_successor(booted: Machine) -> None:
    drop_in = "/etc/systemd/system/yolowatch.service.d/watchdog.conf"
    booted.write(drop_in, "[Service]\nWatchdogSec=3\n")
    booted.run("systemctl daemon-reload && systemctl restart yolowatch")
    pid = main_pid(booted)
    booted.run("sleep 8")  # more than two limits: signs of life do come
    assert main_pid(booted) == pid
    booted.run(f"kill -s STOP {pid}")
    settle(lambda: is_up(booted) and main_pid(booted) != pid, 60)
    said = journal(booted)
    assert "Watchdog timeout" in said
    assert "Fatal Python error: Aborted" in said  # and with it where it stood
    booted.run(f"rm {drop_in} && systemctl daemon-reload && systemctl restart yolowatch")


def test_a_stopped_service_leaves_the_training_alone(booted: Machine) -> None:
    training = int(booted.run("systemctl show -P MainPID train-alice"))
    booted.run("systemctl stop yolowatch")
    booted.run("sleep 2")  # the training knocks, and may not bring it back
    assert not is_up(booted)
    assert booted.says(f"kill -0 {training}")  # it is not in the service's group, and lives on
    assert not booted.says(f"test -e {ADDRESS}")
    booted.run("systemctl start yolowatch")
    settle(lambda: len(runs(booted)) == 1, 60)


def expired(folder: Path) -> None:
    """A web configuration file whose certificate was good for a quarter of 2020."""
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    end = past + datetime.timedelta(days=90)
    issued = trustme.CA().issue_cert("localhost", not_before=past, not_after=end)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    web = "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"
    (folder / "web.yaml").write_text(web)


def problems(booted: Machine, *words: str, before: str = "") -> list[str]:
    """What the doctor calls wrong, each as "check: sentence"."""
    said = booted.run(f"{before} yolowatch doctor --json {' '.join(words)}", check=False)
    found = json.loads(said[said.index("{") :])["findings"]
    return [f"{each['check']}: {each['sentence']}" for each in found if each["level"] == "problem"]


def test_the_doctor_finds_nothing_wrong_with_an_installation(booted: Machine) -> None:
    assert problems(booted, "--cpu") == []
    assert "Nothing is wrong." in booted.run("yolowatch doctor --cpu")


@pytest.mark.parametrize(
    ("plant", "heal", "found"),
    [
        ("true", "true", "gpu: NVML does not answer"),
        (
            "systemctl stop yolowatch-helper.socket",
            "systemctl start yolowatch-helper.socket",
            "socket helper: The socket /run/yolowatch-helper.sock is missing",
        ),
        (
            "chown alice /var/lib/yolowatch",
            "chown yolowatch /var/lib/yolowatch",
            "directory state: The directory /var/lib/yolowatch belongs to alice, not to yolowatch.",
        ),
        (
            "chown bob /home/alice/run/weights",
            "chown alice /home/alice/run/weights",
            "directory weights: The directory /home/alice/run/weights belongs to bob",
        ),
        (
            "mount -t tmpfs -o size=64k,uid=alice disk /home/alice/run/weights",
            "umount /home/alice/run/weights",
            "directory weights: The disk of /home/alice/run/weights is full",
        ),
        (
            "echo 'web_config: /root/web.yaml' > /etc/yolowatch/conf.d/x.yaml",
            "rm /etc/yolowatch/conf.d/x.yaml",
            "certificate: The certificate /root/cert.pem is of no use: certificate has expired.",
        ),
        (
            "echo 'mdoe: auto' > /etc/yolowatch/conf.d/x.yaml",
            "rm /etc/yolowatch/conf.d/x.yaml",
            "configuration: /etc/yolowatch/conf.d/x.yaml has the unknown key 'mdoe'",
        ),
    ],
)
def test_the_doctor_finds_what_is_planted(
    booted: Machine, plant: str, heal: str, found: str
) -> None:
    if "web.yaml" in plant:
        expired(booted.root / "root")
    booted.run(plant)
    try:
        said = problems(booted, *(() if found.startswith("gpu") else ("--cpu",)))
    finally:
        booted.run(heal)
    assert [each for each in said if each.startswith(found)], said
    # Its page cannot be asked by TLS either: the running daemon keeps the configuration before.
    assert len([each for each in said if not each.startswith("metrics")]) == 1, said


def test_the_doctor_finds_that_ptrace_is_refused(booted: Machine) -> None:
    confined = "systemd-run --quiet --pipe --wait -p SystemCallFilter=~ptrace"
    said = problems(booted, "--cpu", before=f"{confined} -p SystemCallErrorNumber=EPERM")
    assert said == [
        "ptrace: ptrace is refused here (Operation not permitted): nothing can be attached to."
    ]


def test_purged_it_leaves_nothing_but_the_training(
    booted: Machine, bare: tuple[Machine, set[str]]
) -> None:
    training = int(booted.run("systemctl show -P MainPID train-alice"))
    booted.run("rm -r /etc/systemd/system/yolowatch.service.d /var/lib/speaker")
    booted.run("rm /root/web.yaml /root/*.pem")
    booted.run("dpkg --purge yolowatch")
    assert booted.says(f"kill -0 {training}")
    assert files(booted) - bare[1] == set()
    assert not booted.says("getent passwd yolowatch")
    units = booted.run("systemctl list-units --all --plain --no-legend --no-pager").splitlines()
    assert [line for line in units if line.startswith("yolowatch")] == []
