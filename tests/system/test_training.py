"""Real trainings under the real service: real torch, memory that runs out, an unprivileged core.

The trainer's Python is this machine's, shown to the booted one read-only. The training is a
miniature with YOLOv5's loop, in a unit of its user's; what heals it are the units as they are
shipped: the unprivileged core asks the helper, and systemd starts the next attempt as its user.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.scene import IMAGES, LIMITING, MINIATURE
from tests.hands.strangers import settle
from tests.system.machine import MEMORY, Machine, carried, machine, missing
from tests.system.test_helper_service import cgroup
from tests.system.test_service import main_pid
from tests.trainers.scene import STEADY

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.timeout(1800),  # the first one builds the package and may build a Debian
]
EATING = Path(__file__).parent / "programs" / "eating"
ALICE = 1001
CONFIGURATION = """\
others_grace_seconds: 0
users:
  - {user: alice, mode: auto}
"""
PATIENCE_SECONDS = 240
LIMIT_BYTES = 900 << 20


def folders(python: Path) -> list[Path]:
    """Where this Python and its packages lie; Debian's own the machine has itself."""
    question = "import json, sys; print(json.dumps([sys.prefix, sys.base_prefix, *sys.path]))"
    said = json.loads(subprocess.check_output([python, "-c", question], text=True))
    found = {Path(each) for each in said if os.path.isdir(each)} - {Path("/usr")}
    outer = [each for each in found if not found.intersection(each.parents)]
    return [each for each in outer if not each.is_relative_to("/usr/lib")]


@pytest.fixture(scope="module")
def booted(trainer_python: Path) -> Iterator[Machine]:
    shown = folders(trainer_python)
    with machine(carried, shown) as found:
        for path in shown:
            for parent in path.parents:  # alice may pass
                found.run(f"chmod a+x {parent}")
        found.run(f"setpriv --reuid=alice --clear-groups {trainer_python} -c 'import yaml'")
        found.run("dpkg -i /root/yolowatch.deb")
        found.write("/etc/yolowatch/conf.d/test.yaml", CONFIGURATION)
        found.run("systemctl reload yolowatch")
        found.run("yolowatch hook stage --into /var/lib/yolowatch-hook")
        yield found


@dataclass
class Training:
    """The miniature as alice's, in a unit of her own and beneath a directory of hers."""

    booted: Machine
    python: Path
    home: Path
    site: Path

    @property
    def folder(self) -> Path:
        """The directory as this machine sees it."""
        return self.booted.root / self.home.relative_to("/")

    @property
    def unit(self) -> str:
        return f"train-{self.home.name}.service"

    def begin(self, *words: str, properties: str = "", **environment: str) -> int:
        """Start it; its pid in there."""
        shutil.copytree(MINIATURE.parent, self.folder / "miniature")
        shutil.copytree(self.site, self.folder / "site")
        self.log.touch()  # the user's own: what systemd makes is root's
        environment |= {
            **STEADY,
            "PYTHONPATH": f"/var/lib/yolowatch-hook/current:{self.home}/site",
            "YOLOWATCH_SOCKET": "/run/yolowatch/hook.sock",
            "LIMIT_FILE": f"{self.home}/limit",
            "FACTS": f"{self.home}/facts.jsonl",
            "OMP_NUM_THREADS": "1",
        }
        given = [f"--setenv={name}={value}" for name, value in environment.items()]
        outputs = [
            f"-p Standard{name}=append:{self.home}/train.log" for name in ("Output", "Error")
        ]
        command = [self.python, self.home / "miniature/train.py", *words]
        command += ["--images", IMAGES, "--project", self.home / "runs", "--name", "run"]
        self.booted.run(
            f"chown -R alice: {self.home} && systemd-run -q --uid=alice --slice=user-1001.slice"
            f" --unit={self.unit} --working-directory={self.home} {properties}"
            f" {' '.join(map(str, (*given, *outputs, *command)))}"
        )
        return int(self.booted.run(f"systemctl show -P MainPID {self.unit}"))

    @property
    def log(self) -> Path:
        return self.folder / "train.log"

    def trained(self, event: str) -> list[dict[str, Any]]:
        path = self.folder / "runs/run/trained.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def wait(self, until: Callable[[], bool]) -> None:
        def looked() -> bool:
            time.sleep(0.3)  # a look starts programs
            return until()

        try:
            settle(looked, PATIENCE_SECONDS)
        except AssertionError:
            pytest.fail(f"{self.log.read_text()[-2000:]}\n{journal(self.booted)[-4000:]}")

    def run(self) -> dict[str, Any]:
        """What the daemon says of it; nothing while there is none."""
        if not self.booted.says("systemctl is-active yolowatch"):
            return {}
        found = json.loads(self.booted.run("yolowatch status --json"))["runs"]
        mine = [each for each in found if each["run_dir"] == f"{self.home}/runs/run"]
        return mine[0] if mine else {}

    def check_each_epoch_once(self, epochs: int) -> None:
        starts = self.trained("start")
        assert len(starts) == len({start["pid"] for start in starts}) == 2
        assert {start["batch"] * start["accumulate"] for start in starts} == {64}
        assert [line["epoch"] for line in self.trained("epoch")] == list(range(epochs))
        (end,) = self.trained("end")
        assert end["images_seen"] == epochs * IMAGES
        made = [*self.folder.joinpath("runs").rglob("*")]
        assert [path for path in made if path.stat().st_uid != ALICE] == []
        assert [path for path in made if path.parent.name == ".yolowatch"] != []


def journal(booted: Machine) -> str:
    return booted.run("journalctl --no-pager -o cat -u yolowatch -u yolowatch-helper")


def receipt(booted: Machine, run: str) -> str:
    """As the service's own user, whose state nobody else may open."""
    return booted.run(
        f"runuser -u yolowatch -- yolowatch show {run} --state-dir /var/lib/yolowatch"
    )


def test_a_real_training_is_healed_by_the_successor_of_a_killed_daemon(
    booted: Machine, trainer_python: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = Training(booted, trainer_python, Path("/home/alice/killed"), LIMITING)
    epochs = 40
    first = training.begin("--epochs", str(epochs), WHEN=f"{training.home}/now")
    training.wait(lambda: training.run().get("epoch") is not None)
    run = training.run()["run"]
    assert (training.run()["user"], training.run()["mode"]) == ("alice", "auto")

    before, trained = main_pid(booted), len(training.trained("batch"))
    booted.run("systemctl kill --kill-whom=main -s KILL yolowatch")
    training.wait(lambda: main_pid(booted) != before and training.run().get("run") == run)
    assert len(training.trained("batch")) > trained
    assert [start["pid"] for start in training.trained("start")] == [first]

    (training.folder / "now").touch()  # from the next epoch on memory is short
    training.wait(lambda: len(training.trained("start")) == 2)
    again = training.trained("start")[1]
    assert again["batch"] < training.trained("start")[0]["batch"]
    assert cgroup(booted, again["pid"]).endswith(f"/user-1001.slice/yolowatch-{run}-1.scope")
    assert booted.run(f"stat -c %U /proc/{again['pid']}") == "alice\n"

    booted.run("systemctl stop yolowatch yolowatch-helper")
    trained = len(training.trained("epoch"))
    training.wait(lambda: len(training.trained("epoch")) > trained + 1)
    assert training.trained("end") == []  # it went on, and goes on
    booted.run("systemctl start yolowatch")
    training.wait(lambda: training.run().get("state") == "finished")
    training.check_each_epoch_once(epochs)
    said = receipt(booted, run)
    assert "mode auto\n  finished, healed" in said
    assert "Traceback" not in journal(booted)
    with capsys.disabled():
        print(f"\n{said}")


@pytest.mark.parametrize(
    ("name", "words", "verdict", "after"),
    [
        ("cache", ("--cache", "ram"), "Host out of memory and the kernel killed the training.", 32),
        ("batch", (), "The kernel killed it for want of memory; last seen: ", 16),
    ],
)
def test_what_the_kernel_killed_in_a_limited_unit_is_resumed(
    booted: Machine,
    trainer_python: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    words: tuple[str, ...],
    verdict: str,
    after: int,
) -> None:
    """Its directory is where a unit with a /tmp of its own would not see it."""
    if not booted.limits_hold():
        pytest.skip("this machine lets no container limit memory")
    training = Training(booted, trainer_python, Path("/var/tmp", name), EATING)
    group = f"user.slice/user-1001.slice/{training.unit}"
    counts = (f"{MEMORY}/{group}/memory.oom_control", f"/sys/fs/cgroup/{group}/memory.events")
    shown = " ".join(f"-p ExecStopPost='-cat {count}'" for count in counts)
    # Version 1 counts in the unit's own group alone, which is there as long as it has a process.
    limited = f"-p MemoryMax={LIMIT_BYTES} {shown} -p ExecStopPost='sleep 3'"
    training.begin("--epochs", "6", *words, properties=limited, EATS=name)
    training.wait(lambda: len(training.trained("start")) == 2)
    run = training.run()["run"]
    limit = booted.run(f"systemctl show -P MemoryMax yolowatch-{run}-1.scope")
    training.wait(lambda: training.run().get("state") == "finished")

    assert booted.run(f"systemctl show -P ExecMainStatus {training.unit}") == "9\n"
    assert "oom_kill 1\n" in training.log.read_text()
    said = receipt(booted, run)
    assert "mode auto\n  finished, healed" in said
    assert verdict in said
    assert int(limit) == LIMIT_BYTES  # it is held to what its first unit was held to
    assert training.trained("start")[1]["batch"] <= after
    training.check_each_epoch_once(6)
    with capsys.disabled():
        print(f"\n{said}")
