"""A training is started again by the daemon or by somebody else, and never by both."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.scene import Miniature, check_each_epoch_once
from tests.faults.service import CONFIGURATION, Service, until
from yolowatch.edges.lease import RUN, SERVICE, Lease

pytestmark = [pytest.mark.faults, pytest.mark.slow]

WAITS = "the plan waits for approval"


@pytest.fixture
def service(scene: Miniature) -> Iterator[Service]:
    service = Service(scene)
    yield service
    service.close()


def by_script(service: Service, script: str, **more: str) -> None:
    """Have a shell without a terminal run a script, in which $TRAIN is the training."""
    environment = service.hooked() | more
    program = shlex.join(service.scene.training())
    text = script.replace("$TRAIN", program)
    leave = 'setsid "$@" > training.log 2>&1 < /dev/null &'
    there = f"cd {shlex.quote(str(service.scene.root))} && {leave}"
    command = (*service.inside, "sh", "-c", there, "sh", "sh", "-c", text)
    subprocess.run(command, env=environment, check=True)


def starts(scene: Miniature) -> int:
    """How many processes have trained, in whatever directory."""
    found = scene.root.glob("runs/*/trained.jsonl")
    return sum(path.read_text().count('"start"') for path in found)


def test_a_training_whose_shell_is_gone_is_started_again(service: Service) -> None:
    service.start()
    by_script(service, "exec $TRAIN")
    until(service.outcome, "the run ends")
    assert service.outcome() == "finished, healed"
    check_each_epoch_once(service.scene)


@pytest.mark.slice
def test_a_loop_that_starts_it_again_is_left_to_it(service: Service) -> None:
    service.start()
    by_script(service, "while ! $TRAIN; do sleep 600; done")
    until(lambda: WAITS in service.log, "the plan waits")
    assert "sh (process" in service.log
    assert "still runs" in service.log
    assert starts(service.scene) == 1


def test_a_sweep_goes_on_to_its_next_training_alone(service: Service) -> None:
    service.start()
    by_script(service, "$TRAIN --name first; LIMIT_FILE=/nonexistent $TRAIN --name second; sleep 9")
    until(lambda: WAITS in service.log, "the plan waits")
    until(lambda: (service.scene.root / "runs" / "second").exists(), "the sweep goes on")
    until(lambda: starts(service.scene) == 2, "the second training trains")
    assert "attempt 1" not in service.log


def test_what_follows_on_success_alone_holds_nothing_up(service: Service) -> None:
    """`a && b`: the shell ends with the failed training, which is started again without it."""
    service.start()
    by_script(service, "$TRAIN && touch followed")
    until(service.outcome, "the run ends")
    assert service.outcome() == "finished, healed"
    check_each_epoch_once(service.scene)
    assert not (service.scene.root / "followed").exists()


def test_a_launchers_own_restarts_are_left_to_it(service: Service) -> None:
    service.start()
    torchrun = shlex.join(
        (
            *(str(service.scene.python), "-m", "torch.distributed.run", "--nproc-per-node=1"),
            *("--max-restarts=1", *service.scene.training("--exist-ok")[1:]),
        )
    )
    by_script(service, f"exec {torchrun}")
    until(lambda: starts(service.scene) == 2, "the launcher starts it again")
    until(service.outcome, "the run ends")
    assert "not restarted" in service.log
    assert starts(service.scene) == 2


@pytest.mark.parametrize("name", ["SLURM_JOB_ID", "KUBERNETES_SERVICE_HOST"])
def test_what_a_scheduler_started_is_the_schedulers(service: Service, name: str) -> None:
    """The variable stands in for the scheduler: every step of a job has it."""
    service.start()
    by_script(service, "exec $TRAIN", **{name: "4711"})
    until(lambda: WAITS in service.log, "the plan waits")
    assert "restarts are its own business" in service.log
    assert starts(service.scene) == 1


@pytest.mark.slice
def test_a_run_under_yolowatch_run_is_not_the_daemons(service: Service) -> None:
    service.start()
    state = service.scene.root / "state-of-run"
    command = (*service.inside, sys.executable, "-m", "yolowatch", "run", "--state-dir", str(state))
    done = subprocess.run(
        (*command, "--", *service.scene.training()),
        env=service.plain() | service.limited(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    check_each_epoch_once(service.scene)
    assert "adopted" not in service.log


def test_who_holds_the_lease_of_yolowatch_run_keeps_the_daemon_out(service: Service) -> None:
    service.start()
    service.scene.run_dir.mkdir(parents=True)
    lease = Lease(service.scene.run_dir, RUN)
    by_script(service, "exec $TRAIN --exist-ok")
    until(lambda: WAITS in service.log, "the plan waits")
    assert "another `yolowatch run`" in service.log
    assert starts(service.scene) == 1
    lease.release()


def test_of_two_daemons_one_acts(service: Service) -> None:
    """Whose sockets are the same cannot both start; others ask for the lease."""
    service.start()
    second = subprocess.run(
        (*service.inside, sys.executable, "-m", "yolowatch", "daemon",
         "--state-dir", str(service.scene.root / "other")),
        cwd=Path(__file__).parents[2], env=service.plain(), capture_output=True, text=True,
    )  # fmt: skip
    assert second.returncode == 123
    assert "Another yolowatch daemon" in second.stderr
    service.scene.run_dir.mkdir(parents=True)
    lease = Lease(service.scene.run_dir, SERVICE)
    by_script(service, "exec $TRAIN --exist-ok")
    until(lambda: "looks after" in service.log, "the other daemon is named")
    assert starts(service.scene) == 1
    lease.release()


def test_somebody_who_is_quicker_within_the_grace_period_has_it(service: Service) -> None:
    service.configure(CONFIGURATION.replace("others_grace_seconds: 0", "others_grace_seconds: 60"))
    service.start()
    by_script(service, "exec $TRAIN")
    until(lambda: "plan: " in service.log, "a plan is made")
    time.sleep(1)
    by_script(service, "exec $TRAIN --exist-ok")
    until(
        lambda: "started it again" in service.log or "somebody else has started" in service.log,
        "the daemon stands down",
    )
    assert "attempt 1" not in service.log
