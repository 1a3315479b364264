"""The owner of all runs: who is adopted, who is not, and to whom an event belongs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.scenes import LAST, RESULTS, RUN_DIR, process, received, words_fields
from tests.decide import build
from yolowatch.daemon import recover
from yolowatch.daemon.core import Core
from yolowatch.daemon.fleet import Fleet
from yolowatch.daemon.member import Do
from yolowatch.daemon.memento import Memento
from yolowatch.edges.journal import Journal
from yolowatch.model import events
from yolowatch.model.actions import Adopt, Attach, Finish, Forget, RunStep, Say, Watch
from yolowatch.model.adoption import Adoption
from yolowatch.model.attach import AttachPolicy
from yolowatch.model.device import DeviceReading
from yolowatch.model.host import RunHost
from yolowatch.model.identity import ProcessKey
from yolowatch.model.service import ServiceConfig, UserRule

UID = 1000
AUTO = ServiceConfig(users=(UserRule("auto", uid=UID),))


class Scene:
    def __init__(self, journal: Journal, config: ServiceConfig = AUTO) -> None:
        self.journal = journal
        numbers = iter(range(1, 1000))
        taken = len(journal.runs())
        self.fleet = Fleet(journal, config, process(1), lambda: f"{taken + next(numbers):08x}", UID)
        self.done: list[Do] = []

    def step(self, event: events.Event) -> list[Do]:
        done = self.fleet.step(event)
        self.done += done
        return done

    def of(self, kind: type) -> list[Any]:
        return [do.action for do in self.done if isinstance(do.action, kind)]

    def tell(self, connection: int, who: ProcessKey, kind: str, **fields: Any) -> list[Do]:
        message = received(kind, fields)
        return self.step(events.HookMessage(connection, who, kind, message, 5.0))

    def connect(self, connection: int, who: ProcessKey, parent: ProcessKey | None = None,
                **hello: Any) -> None:  # fmt: skip
        self.step(events.HookConnected(who, UID, connection, parent))
        self.tell(connection, who, "hello", pid=who.pid, **hello)

    def describe(self, connection: int, who: ProcessKey, run_dir: str = RUN_DIR) -> list[Do]:
        return self.tell(connection, who, "run", **{**asdict(build.SPEC), "run_dir": run_dir})

    def adopted(self, **changes: Any) -> str:
        """The survey answers the request that is due; the run's id."""
        request = self.of(Adopt)[-1]
        root = request.launcher or request.process
        adoption = Adoption(root, UID, ("python", "train.py"), "/work", opted_out=False)
        fields = {"adoption": adoption, "reason": None, **changes}
        self.step(events.Adopted(request.run, root, at=6.0, **fields))
        return str(request.run)

    def fail(self, connection: int, who: ProcessKey) -> None:
        self.tell(connection, who, "checkpoint", path=LAST, epoch=11, step=450)
        self.tell(connection, who, "last_words", **words_fields())
        self.step(events.HookGone(connection, who, 7.0))
        self.step(events.ProcessExited(who, None, None, 7.0))


def successor_of(scene: Scene) -> Scene:
    """A daemon after that one, which can read all that it finds."""
    successor = Scene(scene.journal)
    for run, memento in recover.unfinished(scene.journal, pytest.fail):
        successor.done += successor.fleet.restore(run, memento)
    return successor


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


@pytest.fixture
def scene(journal: Journal) -> Scene:
    return Scene(journal)


TRAINING, LAUNCHER = process(10), process(5)


def test_a_training_is_adopted_once_it_says_what_it_is(scene: Scene) -> None:
    scene.connect(1, TRAINING)
    assert scene.done == []
    scene.tell(1, TRAINING, "sample", step=3)
    scene.describe(1, TRAINING)
    scene.describe(1, TRAINING)
    assert scene.of(Adopt) == [Adopt("00000001", TRAINING, RUN_DIR)]
    run = scene.adopted()
    assert scene.of(Watch) == [Watch(TRAINING)]
    core = scene.fleet.members[run].core
    assert core.user is not None
    assert core.user.run_dir == RUN_DIR
    assert scene.journal.run(run).command == ("python", "train.py")


def test_the_launcher_of_ranks_is_what_is_adopted(scene: Scene) -> None:
    first, second = process(11), process(12)
    for number, who in enumerate((first, second)):
        scene.connect(number, who, LAUNCHER, rank=number, world_size=2, local_world_size=2)
    scene.describe(0, first)
    scene.describe(1, second)
    assert [each.launcher for each in scene.of(Adopt)] == [LAUNCHER]
    run = scene.adopted()
    core = scene.fleet.members[run].core
    assert core.process == LAUNCHER
    assert core.state().ranks == 2


def test_what_is_seen_of_the_machine_reaches_every_run_and_is_not_written_down(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.connect(1, TRAINING)
    scene.describe(1, TRAINING)
    run = scene.adopted()
    written: list[object] = []
    monkeypatch.setattr(Journal, "write_memento", lambda *memento: written.append(memento))
    gpu = DeviceReading(0, used_bytes=5)
    assert scene.step(events.DevicesSeen((gpu,), 8.0)) == []
    assert scene.step(events.HostSeen({run: RunHost(processes=2)}, 9.0)) == []
    sights = scene.fleet.members[run].core.sights
    assert (sights.devices, sights.devices_at) == ((gpu,), 8.0)
    assert (sights.host, sights.host_at) == (RunHost(processes=2), 9.0)
    assert written == []


def test_a_failure_is_answered_with_the_grace_of_others(scene: Scene) -> None:
    scene.connect(1, TRAINING)
    scene.describe(1, TRAINING)
    scene.adopted()
    scene.fail(1, TRAINING)
    (step,) = scene.of(RunStep)
    assert step.step == "grace"
    assert step.remediation.adopted
    assert step.remediation.saved


def test_whoever_trains_in_its_directory_takes_a_failed_run_over(scene: Scene) -> None:
    scene.connect(1, TRAINING)
    scene.describe(1, TRAINING)
    scene.adopted()
    scene.fail(1, TRAINING)
    other = process(20)
    scene.connect(2, other)
    scene.describe(2, other)
    assert len(scene.of(Finish)) == 1
    assert "somebody else" in scene.of(Say)[-2].sentence + scene.of(Say)[-1].sentence
    assert scene.of(Adopt)[-1].process == other
    assert len(scene.of(RunStep)) == 1


def test_the_next_attempt_is_not_adopted_as_a_training_of_its_own(scene: Scene) -> None:
    scene.connect(1, TRAINING)
    scene.describe(1, TRAINING)
    run = scene.adopted()
    scene.fail(1, TRAINING)
    again = process(30)
    while (due := scene.of(RunStep)[-1]).step != "relaunch":
        result = RESULTS.get(due.step, {})
        scene.step(events.StepDone(due.remediation.plan_id, due.step, "", 8.0, result))
    # Its hook may speak before the step that started it is reported done.
    scene.connect(3, again)
    batch = due.remediation.plan.edits.batch
    spec = {**asdict(build.SPEC), "batch": batch, "accumulate": 64 // batch}
    scene.tell(3, again, "run", **spec)
    assert len(scene.of(Adopt)) == 1
    plan = due.remediation.plan_id
    scene.step(events.StepDone(plan, "relaunch", "", 9.0, {"process": again}))
    assert scene.of(Watch)[-1] == Watch(again)
    assert len(scene.of(Adopt)) == 1
    core = scene.fleet.members[run].core
    assert core.attempts == 2
    assert core.hook_connected
    scene.tell(3, again, "bye", finished=True)
    scene.step(events.HookGone(3, again, 10.0))
    scene.step(events.ProcessExited(again, None, None, 10.0))
    assert scene.of(Forget)
    assert scene.journal.run(run).outcome == "finished, healed"
    assert scene.journal.mementos() == ()


def test_what_cannot_be_captured_is_observed(scene: Scene) -> None:
    scene.connect(1, TRAINING)
    scene.describe(1, TRAINING)
    run = scene.adopted(adoption=None, reason="only its own user and root may")
    rule = scene.fleet.members[run].rule
    assert (rule.mode, rule.reason) == ("observe", "only its own user and root may")
    assert scene.journal.run(run).mode == "observe"
    scene.fail(1, TRAINING)
    assert scene.of(RunStep) == []


def test_what_could_only_be_observed_stays_so_for_a_successor(scene: Scene) -> None:
    scene.connect(1, TRAINING)
    scene.describe(1, TRAINING)
    run = scene.adopted(reason="it could not be captured")
    successor = successor_of(scene)
    rule = successor.fleet.members[run].rule
    assert (rule.mode, rule.reason) == ("observe", "it could not be captured")


def test_a_mistake_about_one_run_ends_the_watch_over_that_one_only(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = process(11)
    scene.connect(1, TRAINING)
    scene.describe(1, TRAINING)
    run = scene.adopted()
    scene.connect(2, other)
    scene.describe(2, other, "/runs/other")
    scene.adopted()

    def broken(_event: events.Event) -> list[Any]:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(scene.fleet.members[run].core, "step", broken)
    scene.step(events.Tick(9.0))
    assert [each.core.process for each in scene.fleet.members.values()] == [other]
    assert "ZeroDivisionError: planted" in scene.of(Say)[-1].sentence
    assert scene.journal.run(run).outcome == "abandoned: an internal error of yolowatch"
    done = len(scene.done)
    scene.fail(1, TRAINING)
    assert scene.done[done:] == []


def test_a_notebook_is_observed(scene: Scene) -> None:
    argv = ("python", "-m", "ipykernel_launcher", "-f", "k.json")
    scene.connect(1, TRAINING)
    scene.describe(1, TRAINING)
    run = scene.adopted(adoption=Adoption(TRAINING, UID, argv, "/", opted_out=False))
    assert scene.fleet.members[run].rule.mode == "observe"


@pytest.mark.parametrize("policy", list(AttachPolicy))
def test_a_training_without_a_hook_gets_one_where_the_policy_says_so(
    journal: Journal, policy: AttachPolicy
) -> None:
    scene = Scene(journal, ServiceConfig(attach=policy))
    seen = events.TrainingSeen(TRAINING, UID, ("python", "train.py"), "a training", 1.0)
    scene.step(seen)
    wanted = policy in (AttachPolicy.SAFE, AttachPolicy.DEBUGGER)
    assert scene.of(Attach) == ([Attach(TRAINING, policy)] if wanted else [])
    assert bool(scene.of(Say)) == (not wanted)


def test_no_hook_is_listened_to_where_the_policy_wants_none(journal: Journal) -> None:
    scene = Scene(journal, ServiceConfig(attach=AttachPolicy.NONE))
    scene.connect(1, TRAINING)
    scene.describe(1, TRAINING)
    assert scene.done == []


def test_a_training_whose_hook_speaks_already_gets_no_other(scene: Scene) -> None:
    scene.connect(1, TRAINING)
    scene.step(events.TrainingSeen(TRAINING, UID, ("python", "train.py"), "a training", 1.0))
    assert scene.done == []


def test_a_successor_goes_on_and_leaves_no_incident_open_twice(scene: Scene) -> None:
    scene.connect(1, TRAINING)
    scene.describe(1, TRAINING)
    run = scene.adopted()
    scene.fail(1, TRAINING)
    successor = successor_of(scene)
    assert list(successor.fleet.members) == [run]
    assert [each.step for each in successor.of(RunStep)] == ["grace"]
    assert successor.of(RunStep) == scene.of(RunStep)
    assert [each.closed for each in scene.journal.incidents(run)] == [None]


def test_what_cannot_be_read_is_given_up_with_a_sentence(scene: Scene) -> None:
    scene.connect(1, TRAINING)
    scene.describe(1, TRAINING)
    run = scene.adopted()
    scene.journal.write_memento(run, '{"core": 7}')
    said: list[str] = []
    assert list(recover.unfinished(scene.journal, said.append)) == []
    assert said == [f"run {run} is abandoned: what was known of it cannot be read"]
    assert scene.journal.run(run).ended is not None


def test_a_run_that_cannot_be_gone_on_with_does_not_end_the_daemon(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = process(11)
    runs = []
    for connection, who, run_dir in ((1, TRAINING, RUN_DIR), (2, other, "/runs/other")):
        scene.connect(connection, who)
        scene.describe(connection, who, run_dir)
        runs.append(scene.adopted())
    restore = Core.restore

    def broken(core: Core, memento: Memento) -> list[Any]:
        if memento.attempt.process == TRAINING:
            raise ZeroDivisionError("planted")
        return restore(core, memento)

    monkeypatch.setattr(Core, "restore", broken)
    successor = successor_of(scene)
    assert list(successor.fleet.members) == runs[1:]
    assert [each.process for each in successor.of(Watch)] == [other]
    assert [do.run for do in successor.done if isinstance(do.action, Forget)] == runs[:1]
    assert "ZeroDivisionError: planted" in successor.of(Say)[0].sentence
    assert scene.journal.run(runs[0]).outcome == "abandoned: an internal error of yolowatch"
    assert [run for run, _ in recover.unfinished(scene.journal, pytest.fail)] == runs[1:]
