"""Whatever happens in whatever order, the core never does what it must not do."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.daemon.scenes import CHANGE, LAST, RESUME, RUN_DIR, Scene, full_disk, process, received
from tests.daemon.scenes import words_fields as fields_of
from tests.decide import build
from yolowatch.model import events
from yolowatch.model.actions import STEPS, Action, Finish, RestoreFiles, RunStep, VaultCheckpoint
from yolowatch.model.plan import Policy, Start
from yolowatch.model.receipt import ResumePoint

SPEC = {name: value for name, value in vars(build.SPEC).items() if value is not None}
PROCESSES = st.sampled_from([process(pid) for pid in (10, 11, 12, 20)])
CONNECTIONS = st.integers(1, 4)

MESSAGES = st.one_of(
    st.just(("hello", {"pid": 10})),
    st.builds(
        lambda changes: ("run", SPEC | changes),
        st.fixed_dictionaries(
            {},
            optional={
                "batch": st.sampled_from([1, 4, 8, 16, None]),
                "accumulate": st.sampled_from([4, 8, 16, None]),
                "train_calls": st.sampled_from([1, 2, None]),
                "run_dir": st.sampled_from([RUN_DIR, "/elsewhere", None]),
                "resumed": st.booleans(),
            },
        ),
    ),
    st.builds(
        lambda words: ("last_words", fields_of(words)),
        st.sampled_from(
            [
                build.failed(),
                build.failed(),
                build.failed(phase="validation", side=None),
                build.failed(handled=True),
                build.failed(batch=1, requested=0),
            ]
        ),
    ),
    st.just(("last_words", {"exception": "ValueError", "text": "no"})),
    st.builds(lambda n: ("epoch_end", {"epoch": n}), st.integers(0, 5)),
    st.builds(lambda n: ("checkpoint", {"path": LAST, "epoch": n, "step": 9}), st.integers(0, 5)),
    st.builds(lambda n: ("sample", {"step": n, "phase": "forward"}), st.integers(0, 5)),
    st.just(("retry", {"batch_before": 16, "text": "x"})),
    st.just(("fault", {"where": "a", "text": "b", "count": 1})),
    st.builds(lambda done: ("bye", {"finished": done}), st.booleans()),
)

NOISE = st.one_of(
    st.just(("cannot",)),
    st.tuples(st.just("stray"), st.sampled_from(STEPS)),
    st.tuples(st.just("connect"), CONNECTIONS, PROCESSES),
    st.tuples(st.just("tell"), CONNECTIONS, MESSAGES),
    st.tuples(st.just("gone"), CONNECTIONS),
    st.tuples(st.just("exit"), PROCESSES, st.sampled_from([0, 1, -15, None])),
    st.tuples(st.just("signal"), st.sampled_from([1, 2, 15]), st.booleans()),
    st.tuples(st.just("tick"), st.sampled_from([0.5, 3.0, 100.0])),
    st.just(("vaulted",)),
    st.just(("disk full",)),
)
# Mostly the story goes on as it should, so that many plans are carried out far.
MOVES = st.tuples(st.integers(0, 9), NOISE).map(lambda pair: pair[1] if pair[0] < 2 else ("next",))


def event_of(scene: Scene, move: tuple[object, ...]) -> list[events.Event]:
    """The events that a move stands for; none where it makes no sense at this moment."""
    at = scene.at
    match move:
        case ("next",):
            return story(scene)
        case ("cannot",) if scene.of(RunStep):
            due = scene.asked()
            return [events.StepFailed(due.remediation.plan_id, due.step, "no", at)]
        case ("stray", step) if scene.of(RunStep):
            return [answer(scene, str(step))]
        case ("connect", connection, who):
            return [events.HookConnected(who, 0, connection)]
        case ("tell", connection, (kind, fields)):
            message = received(kind, fields)
            return [events.HookMessage(connection, scene.process, kind, message, at)]
        case ("gone", connection):
            return [events.HookGone(connection, scene.process, at)]
        case ("exit", who, ending):
            status = ending if ending is None or ending >= 0 else None
            return [events.ProcessExited(who, status, 15 if ending == -15 else None, at)]
        case ("signal", number, forward):
            return [events.SignalReceived(number, forward, at)]
        case ("tick", seconds):
            scene.at += seconds
            return [events.Tick(scene.at)]
        case ("vaulted",):
            return [events.CheckpointVaulted(LAST, 1, "ab", "/copy", 5, 0.1, at)]
    return []


def story(scene: Scene) -> list[events.Event]:
    """What happens next when nothing odd does: a step is done, or a training starts and fails."""
    if scene.core.healing.under_way:
        return [answer(scene, scene.asked().step)]
    connection, at = scene.core.attempts, scene.at
    who = scene.process
    batch = 16 >> (connection - 1) or 1
    if scene.core.state().spec is None:
        described = received("run", SPEC | {"batch": batch, "accumulate": 64 // batch})
        return [
            events.HookConnected(who, 0, connection),
            events.HookMessage(connection, who, "run", described, at),
        ]
    words = received("last_words", fields_of())
    return [
        events.HookMessage(connection, who, "last_words", words, at),
        events.ProcessExited(who, 1, None, at),
        *(events.HookGone(each, who, at) for each in range(1, 5)),
    ]


def answer(scene: Scene, step: str) -> events.StepDone:
    results = {
        "vault": {"resume": RESUME if scene.at % 2 < 1 else ResumePoint(Start.AFRESH, "none")},
        "rewrite": {"files": (CHANGE,)},
        "wait": {"seconds": 0.5},
        "relaunch": {"process": process(scene.core.attempts + 10)},
    }
    plan = scene.asked().remediation.plan_id
    return events.StepDone(plan, step, "", scene.at, results.get(step, {}))


class Watch:
    """Sees every action as it is asked for, and says what may not be."""

    def __init__(self, scene: Scene, mode: str) -> None:
        self.scene, self.mode = scene, mode
        self.steps: list[tuple[str, str]] = []
        self.broken = False  # the journal

    def see(self, actions: list[Action]) -> None:
        for index, action in enumerate(actions):
            if isinstance(action, Finish):
                assert index == len(actions) - 1, "nothing follows the end"
            if isinstance(action, RestoreFiles):
                assert isinstance(actions[-1], Finish), "only at the end"
                assert self.mode == "auto"
            if isinstance(action, VaultCheckpoint):
                assert action.path.startswith(action.run_dir)
            if isinstance(action, RunStep):
                self.see_step(action)

    def see_step(self, action: RunStep) -> None:
        assert self.mode == "auto"
        assert not self.broken
        key = (action.remediation.plan_id, action.step)
        assert key not in self.steps, "no step is asked for twice"
        done = [step for plan, step in self.steps if plan == key[0]]
        assert done == list(STEPS[: STEPS.index(action.step)]), "in their order, none left out"
        self.steps.append(key)
        plans = self.scene.journal.plans(self.scene.run)
        (plan,) = (each for each in plans if each.id == key[0])
        assert plan.plan == action.remediation.plan
        assert (plan.steps[-1].name, plan.steps[-1].state) == (action.step, "intent")
        assert plan.ended is None
        assert sum(each.ended is None for each in plans) == 1, "one plan at a time"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    mode=st.sampled_from(["auto", "auto", "auto", "observe", "recommend"]),
    described=st.booleans(),
    moves=st.lists(MOVES, max_size=40),
)
def test_no_order_of_events_makes_it_do_what_it_must_not(
    mode: str, described: bool, moves: list[tuple[object, ...]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder), Policy(mode=mode))
        watch = Watch(scene, mode)
        scene.start()
        if described:
            scene.train(0)
        for move in moves:
            if move == ("disk full",):
                with full_disk():  # one write is enough: it is not tried again
                    scene.core.healing._records.checkpoint(
                        events.CheckpointVaulted(LAST, 1, "ab", "/copy", 5, 0.1, scene.at)
                    )
                watch.broken = True
            for each in event_of(scene, move):
                over = bool(scene.of(Finish))
                actions = scene.step(each)
                assert not (over and actions), "nothing follows the end"
                watch.see(actions)
            if scene.core.attempts:
                scene.process = process(scene.core.attempts + 9)
        scene.status()
        event(f"steps {len(watch.steps)}, over {scene.status() is not None}")
        scene.journal.close()
