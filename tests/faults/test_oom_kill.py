"""The kernel kills a training for want of memory: healed, and told from a kill by a person."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.scene import PLAYED, Miniature, check_each_epoch_once
from tests.faults.service import Service, until
from tests.memory_group import memory_group

pytestmark = [pytest.mark.faults, pytest.mark.slice, pytest.mark.timeout(240)]

LIMIT_BYTES = 96 << 20


@pytest.fixture
def program() -> Path:
    return PLAYED


@pytest.fixture
def service(scene: Miniature, program: Path) -> Iterator[Service]:
    scene.program = program
    scene.environment["UNTIL_KILLED"] = "yes"  # where its batch does not fit
    scene.python = Path(sys.executable)
    service = Service(scene)
    yield service
    service.close()


def test_what_the_kernel_killed_is_resumed_with_less(service: Service) -> None:
    with memory_group(LIMIT_BYTES) as group:
        if group is None:
            pytest.skip("no memory control group can be made here")
        service.start()
        service.train(within=group)
        until(service.outcome, "the run ends")
        until(lambda: not service.trainings(), "the training ends")
    assert service.outcome() == "finished, healed", service.log[-3000:]
    assert "The kernel killed it for want of memory" in service.log
    first, second = service.scene.trained("start")
    assert second["batch"] < first["batch"] == second["batch"] * second["accumulate"] // 2
    check_each_epoch_once(service.scene)


def test_what_somebody_killed_is_left_alone(service: Service) -> None:
    """In a group with a limit, too: the kernel has counted nobody."""
    with memory_group(LIMIT_BYTES) as group:
        if group is None:
            pytest.skip("no memory control group can be made here")
        service.start()
        service.train("--epochs", "500", "--batch-size", "16", within=group)
        until(lambda: "adopted process" in service.log, "it is adopted")
        until(lambda: service.scene.last.exists(), "it has trained")
        for pid in service.trainings():
            os.kill(pid, signal.SIGKILL)
        until(service.outcome, "the run ends")
    assert service.outcome() == "observed", service.log[-3000:]
    assert len(service.scene.trained("start")) == 1
