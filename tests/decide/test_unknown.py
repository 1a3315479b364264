"""Unknown is not zero: whatever of what is known is taken away, no plan becomes more active.

The order: a refusal, a plan of free levers, one that is compensated, one that alters the result.

A memory failure of which nothing is measured is answered by halving the batch, which is
compensated; what is measured may forbid even that, because nothing would fit. So without a
measurement there may be a halving where there was a refusal, and never more. The same with the
levers that a policy names: where nothing is measured and no smaller batch is to be had, they are
what is halved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from hypothesis import event, find, given, settings
from hypothesis import strategies as st

from tests.daemon.parts import FakeClock, FakeNvml
from tests.daemon.scenes import process
from tests.decide.build import GIB, MIB, SPEC, failed, footprint, linear_footprints, state
from tests.decide.test_spreading import beside, reading
from yolowatch.decide.budget import AttemptEnd, AttemptHistory
from yolowatch.decide.detect import classify
from yolowatch.decide.forecast import Laws, fit
from yolowatch.decide.planner import plan
from yolowatch.hands.memory import wait_for_memory
from yolowatch.model.opt_in import OPT_IN
from yolowatch.model.plan import LEVERS, Cost, Edits, Plan, Policy, Refusal
from yolowatch.model.run import Footprint, Memory, Place, RunSpec, RunState
from yolowatch.model.surroundings import Around
from yolowatch.model.verdict import Verdict, Where

_ORDER = (Cost.FREE, Cost.COMPENSATED, Cost.ALTERS_RESULT)


@dataclass(frozen=True)
class Inputs:
    """Everything that a decision is made of."""

    user: RunSpec
    earlier: Edits
    state: RunState
    verdict: Verdict
    laws: Laws
    history: AttemptHistory
    policy: Policy
    around: Around

    def decide(self) -> Plan | Refusal:
        return plan(**vars(self), incident="i-1")

    def judged_anew(self, **changes: Any) -> Inputs:
        """With another state, from which verdict and laws are drawn again."""
        run = replace(self.state, **changes)
        return replace(self, state=run, verdict=judged(run), laws=fit(run))


def judged(run: RunState) -> Verdict:
    return classify(run, exit_status=1, exit_signal=None, asked_to_stop=False)


def activity(decision: Plan | Refusal) -> int:
    """How much a decision does, by what it costs the science; 0 is nothing."""
    if isinstance(decision, Refusal):
        return 0
    return max(activity_of(use.cost) for use in decision.levers)


def activity_of(cost: Cost) -> int:
    return 1 + _ORDER.index(cost)


def without(value: Any, name: str) -> Any:
    return replace(value, **{name: None})


def _of_words(part: str, name: str) -> Callable[[Inputs], Inputs]:
    def unknown(inputs: Inputs) -> Inputs:
        words = inputs.state.last_words
        assert words is not None
        changed = without(getattr(words, part), name)
        return inputs.judged_anew(last_words=replace(words, **{part: changed}))

    return unknown


def _of_footprints(change: Callable[[Footprint], Footprint]) -> Callable[[Inputs], Inputs]:
    return lambda inputs: inputs.judged_anew(footprints=tuple(map(change, inputs.state.footprints)))


def _history(inputs: Inputs) -> Inputs:
    ends = tuple(AttemptEnd(end.attempt, None) for end in inputs.history.ends)
    return replace(inputs, history=AttemptHistory(ends))


def _unsaid(inputs: Inputs) -> Inputs:
    words = inputs.state.last_words
    assert words is not None
    return inputs.judged_anew(last_words=replace(words, text=""))


UNKNOWN: dict[str, Callable[[Inputs], Inputs]] = {
    **{
        f"user.{f.name}": lambda inputs, name=f.name: replace(
            inputs, user=without(inputs.user, name)
        )
        for f in fields(RunSpec)
        if f.name != "trainer"
    },
    **{
        f"spec.{f.name}": lambda inputs, name=f.name: inputs.judged_anew(
            spec=without(inputs.state.spec, name)
        )
        for f in fields(RunSpec)
        if f.name != "trainer"
    },
    **{f"words.place.{f.name}": _of_words("place", f.name) for f in fields(Place)},
    **{f"words.memory.{f.name}": _of_words("memory", f.name) for f in fields(Memory)},
    "words.text": _unsaid,
    "words.requested_bytes": lambda i: i.judged_anew(
        last_words=without(i.state.last_words, "requested_bytes")
    ),
    "words.train_calls": lambda i: i.judged_anew(
        last_words=without(i.state.last_words, "train_calls")
    ),
    "words": lambda i: i.judged_anew(last_words=None),
    "spec": lambda i: i.judged_anew(spec=None),
    "memory": lambda i: i.judged_anew(memory=Memory()),
    "footprints": lambda i: i.judged_anew(footprints=()),
    "footprints.base_bytes": _of_footprints(lambda f: replace(f, base_bytes=None)),
    "footprints.boxes": _of_footprints(lambda f: replace(f, boxes=None)),
    "footprints.exact": _of_footprints(lambda f: replace(f, exact=False)),
    "footprints.epoch": _of_footprints(lambda f: replace(f, epoch=None)),
    "samples": lambda i: i.judged_anew(samples=()),
    "verdict.capacity_bytes": lambda i: replace(i, verdict=without(i.verdict, "capacity_bytes")),
    "verdict.where": lambda i: replace(i, verdict=replace(i.verdict, where=Where.UNKNOWN)),
    "laws.training": lambda i: replace(i, laws=replace(i.laws, training=None)),
    "laws.validation": lambda i: replace(i, laws=replace(i.laws, validation=None)),
    "laws": lambda i: replace(i, laws=Laws()),
    "history": _history,
    "around": lambda i: replace(i, around=Around()),
    "around.device": lambda i: replace(i, around=without(i.around, "device")),
    "around.devices": lambda i: replace(i, around=without(i.around, "devices")),
}


@st.composite
def inputs(draw: st.DrawFn) -> Inputs:
    """A real failure, with much or little known of it."""
    named = (LEVERS, LEVERS, (*LEVERS, *OPT_IN), ("more gpus",))
    policy = Policy(levers=draw(st.sampled_from(named)))
    alone = policy.levers == ("more gpus",)  # then nothing else stands against it
    batch = draw(st.sampled_from([1, 2, 4, 16, 48]))
    side = draw(st.sampled_from([320, 640, 960]))
    per_pixel = draw(st.floats(200.0, 20_000.0))
    allocated = draw(st.integers(2, 24)) * GIB
    phase = draw(st.sampled_from(["forward", "backward", "validation", "optimizer", "save"]))
    prints = draw(
        st.sampled_from(
            [
                (),
                linear_footprints(2 * GIB, per_pixel, [(batch, 640)]),
                linear_footprints(2 * GIB, per_pixel, [(batch, 320), (batch, 640)]),
                (
                    *linear_footprints(2 * GIB, per_pixel, [(batch, 640)]),
                    footprint("validation", 2 * batch, 640, 2 * GIB, 4 * GIB),
                ),
            ]
        )
    )
    multi_scale = draw(st.sampled_from([None, 0.5]))
    changes: dict[str, Any] = {
        "trainer": "ultralytics" if alone else draw(st.sampled_from(["ultralytics", "yolov5"])),
        "batch": batch,
        "accumulate": max(round(64 / batch), 1),
        "validation_batch": draw(st.sampled_from([batch, 2 * batch])),
        "precision": draw(st.sampled_from(["fp32", "fp16"])),
        "autocast": draw(st.sampled_from(["fp16", "bf16", None])),
        "checkpointable": draw(st.sampled_from([0, 8])),
        "checkpointed": 0,
        "multi_scale": multi_scale,
        "image_size_max": 960 if multi_scale else 640,
        "image_size_min": 320 if multi_scale else 640,
        "freezable": 10,
        "frozen": 0,
        "pruned": 0.0,
        "prunable": True,
        "eight_bit": True,
        "optimizer_state_exists": draw(st.booleans()),
        "cache": "none" if alone else draw(st.sampled_from(["ram", "none"])),
        "workers": draw(st.sampled_from([0, 8])),
        "pin_memory": draw(st.booleans()),
        "gpu": "NVIDIA L4",
        "gpu_number": 0,
        "renumbered": not alone and draw(st.booleans()),
        "spawnable": True,
    }
    words = failed(
        phase=phase,
        batch=batch,
        side=side,
        allocated=allocated,
        requested=draw(st.sampled_from([MIB, GIB, 4 * GIB])),
        unallocated=draw(st.sampled_from([0, GIB, 6 * GIB])),
    )
    run = state(words, prints, **changes)
    ends = draw(st.lists(st.one_of(st.none(), st.integers(0, 12)), max_size=4))
    history = AttemptHistory(tuple(AttemptEnd(n, each) for n, each in enumerate(ends)))
    user = replace(SPEC, **changes)
    around = beside(reading(1), reading(2, used_bytes=draw(st.sampled_from([0, GIB]))))
    return Inputs(user, Edits(), run, judged(run), fit(run), history, policy, around)


# What may show that nothing would fit: all that a prediction, its limit or its size rests on.
MEASUREMENTS = (
    "footprints", "footprints.base_bytes", "footprints.exact", "laws", "laws.training",
    "laws.validation", "spec", "spec.parameter_bytes", "spec.image_size_max",
    "spec.validation_batch", "verdict.capacity_bytes", "words.memory.allocated_bytes",
    "words.memory.capacity_bytes", "words.place.batch", "words.place.height", "words.place.width",
    "words.text",
)  # fmt: skip


@settings(max_examples=600)
@given(inputs(), st.sampled_from(sorted(UNKNOWN)))
def test_what_is_not_known_never_makes_a_plan_more_active(known: Inputs, name: str) -> None:
    before, after = activity(known.decide()), activity(UNKNOWN[name](known).decide())
    event(f"{before} to {after}")
    most = before
    if name in MEASUREMENTS and before == 0:
        most = activity_of(Cost.COMPENSATED)
    if name in MEASUREMENTS and set(known.policy.levers) > set(LEVERS):
        most = activity_of(Cost.ALTERS_RESULT)
    assert after <= most, name


def test_the_cases_reach_every_degree_of_activity() -> None:
    """Else the property above would say nothing."""
    reached: set[tuple[int, bool]] = set()

    # Half of them lack what nothing is planned without: few others make a plan less active.
    @settings(max_examples=300, database=None)
    @given(inputs(), st.one_of(st.sampled_from(sorted(UNKNOWN)), st.just("user.run_dir")))
    def collect(known: Inputs, name: str) -> None:
        before, after = activity(known.decide()), activity(UNKNOWN[name](known).decide())
        reached.add((before, after < before))

    collect()
    assert {degree for degree, _ in reached} == {0, 1, 2, 3}
    assert {degree for degree, less in reached if less} >= {1, 2}


@given(st.lists(st.sampled_from([(), (7,), None]), min_size=1, max_size=8), st.integers(0, 7))
def test_an_unreadable_device_is_never_taken_for_a_free_one(
    told: list[tuple[int, ...] | None], at: int
) -> None:
    """What NVML does not say never lets the next attempt start earlier."""
    readings = [None if each is None else set(each) for each in told]
    unknown = [None if n == at else each for n, each in enumerate(readings)]
    assert waited(unknown) >= waited(readings)


def waited(readings: list[set[int] | None]) -> float:
    """Seconds until the launcher took the device's memory to be back, or gave up waiting."""
    clock = FakeClock()
    began = clock.now
    wait_for_memory("cuda:0", [process(7)], FakeNvml(readings), clock, 3.0)
    return clock.now - began


def test_the_cases_reach_the_devices() -> None:
    """Else the property says nothing of them."""

    def spread(known: Inputs) -> bool:
        decision = known.decide()
        return isinstance(decision, Plan) and decision.edits.more_gpus is not None

    always_the_same = settings(max_examples=1000, database=None, derandomize=True)
    assert spread(find(inputs(), spread, settings=always_the_same))
