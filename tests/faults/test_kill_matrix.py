"""Whatever is killed after whichever write of a remediation: the run is resumed exactly once.

A real daemon, a training that nobody started through yolowatch, and SIGKILL after the N-th write of
the journal since the training failed. Each cell comes twice: with the miniature, which is a real
training with torch, and with a played one, where torch makes no difference; the slice is of the
latter, and has one of the former. `make faults` prints the matrix.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.scene import EPOCHS, MINIATURE, PLAYED, Miniature, check_each_epoch_once
from tests.faults.service import Service, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

# What a remediation writes, from the end of the failed attempt to the beginning of the next one.
WRITES = (
    *("attempts", "incidents", "plans"),
    *("steps grace intent", "mementos (grace)", "steps grace done"),
    *("steps stop intent", "mementos (stop)", "steps stop done"),
    *("steps vault intent", "mementos (vault)", "steps vault done"),
    *("steps rewrite intent", "mementos (rewrite)", "steps rewrite done", "files"),
    *("steps wait intent", "mementos (wait)", "steps wait done"),
    *("steps relaunch intent", "mementos (relaunch)", "steps relaunch done"),
    *("receipts", "plans ended", "attempts begun", "mementos (resumed)"),
)
STARTED = WRITES.index("steps relaunch done") + 1  # from this write on the next attempt lives
DAEMON, TRAINING, SOCKET, HELPER = VICTIMS = ("daemon", "training", "socket", "helper")
SLICE = {
    (DAEMON, "incidents"),
    (DAEMON, "plans"),
    (DAEMON, "mementos (rewrite)"),
    (DAEMON, "mementos (relaunch)"),
    (DAEMON, "attempts begun"),
    (TRAINING, "receipts"),
    (HELPER, "steps stop intent"),
    (HELPER, "steps relaunch intent"),
}


def cells(victim: str) -> list[object]:
    return [
        pytest.param(
            *(program, write),
            id=f"{program.parent.name}-{write}",
            marks=[pytest.mark.slice] * ((victim, write) in SLICE and program in (PLAYED, only)),
        )
        for program in (PLAYED, MINIATURE)
        for number, write in enumerate(WRITES, 1)
        for only in [MINIATURE if (victim, write) == (DAEMON, "mementos (relaunch)") else None]
        if victim != TRAINING or number >= STARTED  # before that none lives
    ]


@pytest.fixture
def helped() -> bool:
    """Whether the daemon acts through the root helper."""
    return False


@pytest.fixture
def service(scene: Miniature, program: Path, helped: bool) -> Iterator[Service]:
    scene.program = program
    if program == PLAYED:
        scene.python = Path(sys.executable)
    service = Service(scene, helped=helped)
    yield service
    service.close()


def struck(service: Service, write: str, victim: str) -> None:
    """The training has failed, and the victim was killed after this write."""
    service.start(write, victim)
    service.train()
    if victim == DAEMON:
        until(lambda: service.ended, f"the daemon is killed after {write}")
        assert service.daemon is not None
        assert service.daemon.returncode == -signal.SIGKILL, service.log[-3000:]
        assert service.written()[-1] == write
    else:
        until(lambda: write in service.written(), write)


def told(service: Service, victim: str, write: str) -> str:
    """One cell of the matrix."""
    return json.dumps(
        {
            "victim": victim,
            "training": service.scene.program.parent.name,
            "write": write,
            "outcome": service.outcome(),
            "starts": len(service.scene.trained("start")),
            "epochs": service.scene.epochs(),
        }
    )


def over(service: Service) -> bool:
    return service.outcome() is not None and not service.trainings()


@pytest.mark.parametrize(("program", "write"), cells(DAEMON))
def test_a_killed_daemon_resumes_the_run_exactly_once(
    service: Service, write: str, record_property: Callable[[str, object], None]
) -> None:
    struck(service, write, DAEMON)
    service.start()
    until(lambda: over(service), "the run ends")
    assert service.outcome() == "finished, healed", service.log[-3000:]
    check_each_epoch_once(service.scene)
    with service.journal() as journal:
        (run,) = journal.runs()
        assert [attempt.number for attempt in journal.attempts(run.id)] == [0, 1]
    record_property("cell", told(service, DAEMON, write))


@pytest.mark.parametrize(("program", "write"), cells(SOCKET))
def test_a_cut_socket_loses_nothing(
    service: Service, write: str, record_property: Callable[[str, object], None]
) -> None:
    struck(service, write, SOCKET)
    until(lambda: over(service), "the run ends")
    assert service.outcome() == "finished, healed", service.log[-3000:]
    check_each_epoch_once(service.scene)
    record_property("cell", told(service, SOCKET, write))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be a helper")
@pytest.mark.parametrize("helped", [True], ids=["helped"])
@pytest.mark.parametrize(("program", "write"), cells(HELPER))
def test_a_killed_helper_is_asked_again(
    service: Service, write: str, record_property: Callable[[str, object], None]
) -> None:
    struck(service, write, HELPER)
    until(lambda: over(service), "the run ends")
    assert service.outcome() == "finished, healed", service.log[-3000:]
    assert service.helper is not None
    assert service.helper.starts >= 2
    check_each_epoch_once(service.scene)
    record_property("cell", told(service, HELPER, write))


@pytest.mark.parametrize(("program", "write"), cells(TRAINING))
def test_a_training_that_is_killed_is_not_started_a_third_time(
    service: Service, write: str, record_property: Callable[[str, object], None]
) -> None:
    """Who kills it has a reason, and nobody says that it was memory.

    The daemon is not the parent of what it has started, so that it only sees that it is gone.
    """
    struck(service, write, TRAINING)
    until(lambda: over(service), "the run ends")
    starts = service.scene.trained("start")
    assert 1 <= len(starts) <= 2
    assert service.scene.epochs() in (list(range(n)) for n in range(1, EPOCHS + 1))
    assert service.outcome() == "observed", service.log[-3000:]
    assert "not restarted again" in service.log
    record_property("cell", told(service, TRAINING, write))
