"""A real training under the real service: real torch, memory that runs out, an unprivileged core.

The trainer's Python is this machine's, shown to the booted one read-only. The training is a
miniature with YOLOv5's loop; what heals it are the units as they are shipped: the unprivileged core
asks the helper, and systemd starts the next attempt as its user.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.scene import EPOCHS, IMAGES, LIMITING, MINIATURE
from tests.hands.strangers import settle
from tests.system.machine import Machine, carried, machine, missing
from tests.system.test_helper_service import cgroup
from tests.trainers.scene import STEADY

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.timeout(1800),  # the first one builds the package and may build a Debian
]
ALICE = "/home/alice"
CONFIGURATION = """\
mode: observe
others_grace_seconds: 0
users:
  - {user: alice, mode: auto}
"""


@pytest.fixture(scope="module")
def booted(trainer_python: Path) -> Iterator[Machine]:
    question = "import sys; print(sys.base_prefix)"
    prefix = subprocess.check_output([trainer_python, "-c", question], text=True).strip()
    with machine(carried, (trainer_python.parents[2], Path(prefix))) as found:
        for shown in (trainer_python, Path(prefix)):
            for parent in shown.parents[:-1]:  # alice may pass
                found.run(f"chmod a+x {parent} 2>/dev/null; true")
        found.run("dpkg -i /root/yolowatch.deb")
        found.write("/etc/yolowatch/conf.d/test.yaml", CONFIGURATION)
        found.run("yolowatch hook stage --into /var/lib/yolowatch-hook")
        found.run("systemctl reload yolowatch")
        yield found


def begin(booted: Machine, python: Path) -> int:
    """The miniature as alice, in a unit of her own; its pid."""
    home = booted.root / "home/alice"
    shutil.copytree(MINIATURE.parent, home / "miniature")
    (home / "site").mkdir()
    shutil.copy(LIMITING, home / "site/sitecustomize.py")
    (home / "train.log").touch()
    environment = {
        **STEADY,
        "PYTHONPATH": f"/var/lib/yolowatch-hook/current:{ALICE}/site",
        "YOLOWATCH_SOCKET": "/run/yolowatch/hook.sock",
        "LIMIT_FILE": f"{ALICE}/limit",
        "FACTS": f"{ALICE}/facts.jsonl",
        "OMP_NUM_THREADS": "1",
    }
    given = " ".join(f"--setenv={name}={value}" for name, value in environment.items())
    booted.run(
        f"chown -R alice: {ALICE} && systemd-run --uid=alice --slice=user-1001.slice --unit=train"
        f" {given} --working-directory={ALICE} -p StandardOutput=append:{ALICE}/train.log"
        f" -p StandardError=append:{ALICE}/train.log {python} {ALICE}/miniature/train.py"
        f" --epochs {EPOCHS} --images {IMAGES} --project {ALICE}/runs --name run"
    )
    return int(booted.run("systemctl show -P MainPID train"))


def trained(booted: Machine, event: str) -> list[dict[str, Any]]:
    path = booted.root / "home/alice/runs/run/trained.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in map(json.loads, lines) if line["event"] == event]


def test_a_real_training_is_healed_by_the_successor_of_a_killed_daemon(
    booted: Machine, trainer_python: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = begin(booted, trainer_python)
    settle(lambda: trained(booted, "batch") != [], 300)
    settle(lambda: json.loads(booted.run("yolowatch status --json"))["runs"] != [], 60)
    (run,) = json.loads(booted.run("yolowatch status --json"))["runs"]
    assert (run["user"], run["mode"]) == ("alice", "auto")
    before = booted.run("systemctl show -P MainPID yolowatch")
    booted.run("systemctl kill -s KILL yolowatch")
    assert booted.says(f"kill -0 {training}")
    settle(lambda: booted.run("systemctl show -P MainPID yolowatch") not in (before, "0\n"), 60)
    settle(lambda: len(trained(booted, "start")) == 2, 300)
    again = trained(booted, "start")[1]
    home = booted.root / "home/alice"
    try:
        settle(lambda: trained(booted, "end") != [], 300)
    except AssertionError:
        pytest.fail((home / "train.log").read_text()[-3000:])
    assert [line["epoch"] for line in trained(booted, "epoch")] == list(range(EPOCHS))
    first = trained(booted, "start")[0]
    assert again["batch"] < first["batch"]
    assert again["batch"] * again["accumulate"] == first["batch"] * first["accumulate"]
    said = booted.run("journalctl --no-pager -o cat -u yolowatch -u yolowatch-helper")
    assert "Traceback" not in said
    with capsys.disabled():
        print(f"\n{booted.run('yolowatch status')}")
    assert cgroup(booted, 1) != ""
    receipt = booted.run(f"yolowatch show {run['run']} --state-dir /var/lib/yolowatch", check=False)
    assert "batch" in receipt
