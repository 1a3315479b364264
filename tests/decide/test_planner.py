"""What is done about a failure: the largest batch that fits, a halving, or a reasoned refusal."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decide.build import GIB, SPEC, failed, footprint, linear_footprints, recorded, state
from yolowatch.decide.budget import AttemptHistory
from yolowatch.decide.detect import classify
from yolowatch.decide.forecast import fit
from yolowatch.decide.planner import plan
from yolowatch.model.plan import Cost, Edits, Plan, Policy, Refusal
from yolowatch.model.run import LastWords, Memory, Place, RunSpec, RunState

PER_PIXEL = 3200.0  # about 20 GiB at batch 16 and 640 px
PRINTS = linear_footprints(2 * GIB, PER_PIXEL, [(16, 640)])


WITHOUT_ALLOCATOR = Policy(levers=("validation batch", "batch"))


def decide(
    run: RunState,
    *,
    user: RunSpec = SPEC,
    earlier: Edits | None = None,
    history: AttemptHistory | None = None,
    policy: Policy | None = None,
    status: int = 1,
) -> Plan | Refusal:
    verdict = classify(run, exit_status=status, exit_signal=None, asked_to_stop=False)
    return plan(
        user=user,
        earlier=earlier or Edits(),
        state=run,
        verdict=verdict,
        laws=fit(run),
        history=history or AttemptHistory().with_end(0, 11),
        policy=policy or Policy(),
        incident="i-1",
    )


def planned(run: RunState, **more: Any) -> Plan:
    decision = decide(run, **more)
    assert isinstance(decision, Plan), decision.reason
    return decision


def refused(run: RunState, **more: Any) -> Refusal:
    decision = decide(run, **more)
    assert isinstance(decision, Refusal), decision.reason
    return decision


def test_a_plan_says_all_that_a_person_and_the_executor_need() -> None:
    chosen = planned(state(failed(), PRINTS))
    assert chosen.edits == Edits(batch=8, nbs=64, weight_decay=0.0005)
    assert chosen.original == Edits(batch=16, nbs=64, weight_decay=0.0005)
    assert chosen.attempt == 1
    assert chosen.effective_batch == 64
    assert chosen.capacity_bytes == 22 * GIB + GIB + GIB // 2
    assert chosen.margin_ratio == 0.05
    (lever,) = chosen.levers
    assert lever.name == "batch"
    assert lever.cost is Cost.COMPENSATED
    assert lever.before == "batch 16, 4 an optimizer step, nbs 64, weight decay 0.0005"
    assert lever.after == "batch 8, 8 an optimizer step, nbs 64, weight decay 0.0005"
    assert "largest batch that is predicted to fit" in chosen.reason
    assert "of 23.5 GiB, 5% to be kept free" in chosen.reason
    assert chosen.predicted_peak_bytes is not None
    assert chosen.predicted_peak_bytes <= 0.95 * 23.5 * GIB


def test_the_largest_batch_is_taken_not_the_half() -> None:
    user = replace(SPEC, batch=24, accumulate=3)
    prints = linear_footprints(2 * GIB, 2100.0, [(24, 640)])
    run = state(failed(batch=24, allocated=21 * GIB, requested=2 * GIB), prints, batch=24)
    chosen = planned(run, user=user)
    assert chosen.edits.batch == 18
    assert chosen.edits.nbs == 72
    assert chosen.rejected == ()


def test_far_less_is_taken_where_the_largest_image_needs_it() -> None:
    prints = linear_footprints(2 * GIB, 2600.0, [(16, 480), (16, 640)])
    run = state(failed(side=1216), prints, image_size_max=1280)
    chosen = planned(run)
    assert chosen.edits.batch == 4
    assert [each.option for each in chosen.rejected] == ["batch 8"]
    law = fit(run).training
    assert law is not None
    assert chosen.predicted_peak_bytes == law.peak_bytes(4 * 1280**2)


def test_memory_that_was_there_but_not_in_one_piece_does_not_count() -> None:
    # 24 divides into 18; the capacity would have room for it, but 16 GiB were already too much.
    prints = linear_footprints(2 * GIB, 1500.0, [(24, 640)])
    words = failed(batch=24, allocated=15 * GIB, requested=GIB, unallocated=7 * GIB)
    run = state(words, prints, batch=24)
    user = replace(SPEC, batch=24, accumulate=3)
    assert planned(run, user=user).edits == Edits(expandable_segments=True)
    chosen = planned(run, user=user, policy=WITHOUT_ALLOCATOR)
    assert chosen.edits.batch is not None
    assert chosen.predicted_peak_bytes is not None
    assert chosen.predicted_peak_bytes <= 0.95 * 16 * GIB


def test_without_any_measurement_the_batch_is_halved_and_says_so() -> None:
    blind = failed(batch=None, side=None)
    chosen = planned(state(blind, image_size=None, image_size_max=None))
    assert chosen.edits.batch == 8
    assert chosen.predicted_peak_bytes is None
    assert "halved" in chosen.reason


def test_a_failure_at_an_unknown_place_is_refused() -> None:
    """It may have been validation, of which a smaller training batch is no remedy."""
    assert "not known where" in refused(state(failed(phase=None), PRINTS)).reason


def test_a_first_batch_that_fails_is_halved_at_least() -> None:
    chosen = planned(state(failed()), history=AttemptHistory().with_end(0, None))
    assert chosen.edits.batch == 8
    assert "only a bound" in chosen.reason


def test_a_validation_that_fails_only_gets_smaller_batches_of_its_own() -> None:
    words = failed(phase="validation", batch=32)
    chosen = planned(state(words, linear_footprints(2 * GIB, 500.0, [(16, 640)])))
    assert chosen.edits == Edits(validation_batch=16)
    (lever,) = chosen.levers
    assert (lever.name, lever.cost) == ("validation batch", Cost.FREE)
    assert (lever.before, lever.after) == ("validation batch 32", "validation batch 16")


def test_a_validation_of_which_nothing_is_known_gets_a_quarter() -> None:
    words = failed(phase="validation", batch=32)
    chosen = planned(state(replace(words, memory=Memory(), text="CUDA error: out of memory")))
    assert chosen.edits.validation_batch == 8
    assert chosen.predicted_peak_bytes is None


def test_a_validation_that_cannot_take_one_image_is_refused() -> None:
    run = state(failed(phase="validation", batch=1), PRINTS, validation_batch=1)
    assert "cannot fit" in refused(run).reason


def test_the_largest_validation_batch_that_fits_is_taken() -> None:
    prints = (
        *linear_footprints(2 * GIB, 1000.0, [(16, 640)]),
        footprint("validation", 32, 640, 2 * GIB, 23 * GIB),
    )
    words = failed(phase="validation", batch=32, allocated=40 * GIB, requested=4 * GIB, free=0)
    words = replace(words, memory=replace(words.memory, capacity_bytes=24 * GIB, peak_bytes=GIB))
    words = replace(words, text="CUDA error: out of memory")
    chosen = planned(state(words, prints))
    # Half of the 44 GiB that the validation needed is still too much for 24 GiB and a margin.
    assert chosen.edits == Edits(validation_batch=8)
    assert chosen.predicted_peak_bytes is not None
    assert chosen.predicted_peak_bytes <= 0.95 * 24 * GIB


def test_a_training_batch_must_also_fit_in_validation() -> None:
    prints = (
        *linear_footprints(2 * GIB, 1000.0, [(16, 640)]),
        footprint("validation", 32, 640, 2 * GIB, 44 * GIB),
    )
    chosen = planned(state(failed(), prints, validation_batch=32))
    assert chosen.edits.batch == 4
    assert "validation peak" in chosen.rejected[0].reason


def test_the_trainers_own_retry_does_not_change_what_is_kept() -> None:
    # The user asked for 16; the trainer halved to 8 by itself and still failed.
    run = state(failed(batch=8), linear_footprints(2 * GIB, 6400.0, [(8, 640)]), batch=8)
    chosen = planned(run)
    assert chosen.edits.batch == 4
    assert chosen.effective_batch == 64
    assert chosen.original.batch == 16
    assert chosen.levers[0].before.startswith("batch 8, 8 an optimizer step")


def test_the_nominal_batch_counts_not_the_rest_at_an_epochs_end() -> None:
    rest = failed(batch=14, allocated=18 * GIB, requested=GIB)
    assert planned(state(rest, PRINTS), policy=WITHOUT_ALLOCATOR).edits.batch == 8


def test_a_real_recorded_training_is_planned_to_the_batch_that_really_fits() -> None:
    run, peak_at_16 = recorded("320 px batch 16")
    _, peak_at_8 = recorded("320 px batch 8")
    capacity = round(peak_at_8 / 0.94)
    assert capacity < peak_at_16
    words = LastWords(
        at=1.0,
        exception="RuntimeError",
        text="[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
        "memory: you tried to allocate 104857600 bytes. Error code 12 (Cannot allocate memory)",
        place=Place("forward", 1, 2, 16, 320, 320, 4, 30),
        memory=Memory(capacity_bytes=capacity, allocated_bytes=capacity, peak_bytes=capacity),
        train_calls=1,
    )
    assert run.spec is not None
    spec = replace(run.spec, entry="command", train_calls=1, run_dir="/runs/train")
    failing = tuple(each for each in run.footprints if each.peak_bytes < capacity)
    run = replace(run, spec=spec, last_words=words, footprints=failing, samples=())
    chosen = planned(run, user=spec)
    assert chosen.edits.batch in (4, 8)
    assert chosen.edits.nbs == 64


# ---------------------------------------------------------------- refusals


def test_batch_one_that_fails_cannot_fit() -> None:
    reason = refused(state(failed(batch=1), PRINTS, batch=1)).reason
    assert reason == (
        "It cannot fit: it failed at batch 1, the smallest there is (24.0 GiB were needed of "
        "23.5 GiB). A smaller image size or model is a decision for a person."
    )


def test_a_law_that_was_measured_may_say_that_nothing_fits() -> None:
    prints = linear_footprints(24 * GIB, 200.0, [(16, 640)])
    decision = refused(state(failed(allocated=23 * GIB, requested=GIB // 4), prints))
    assert decision.reason.startswith("It cannot fit at batch 1: its peak is predicted at 24.")
    assert [each.option for each in decision.rejected] == [f"batch {b}" for b in (8, 4, 2, 1)]


def test_the_smallest_batch_is_tried_before_nothing_is() -> None:
    # 22.8 GiB of 23.5 GiB: it may fit, though without the margin.
    prints = linear_footprints(round(22.7 * GIB), 200.0, [(16, 640)])
    chosen = planned(state(failed(allocated=23 * GIB, requested=GIB // 2), prints))
    assert chosen.edits.batch == 1
    assert "the smallest may fit" in chosen.reason


def test_a_bound_may_not_say_that_nothing_fits() -> None:
    # Only the failed batch is known, and its floor: that it needs more is not proven.
    prints = (footprint("forward", 16, 640, 24 * GIB, 24 * GIB, exact=False),)
    chosen = planned(state(failed(allocated=24 * GIB), prints))
    assert chosen.edits.batch == 1
    assert "the prediction is only a bound" in chosen.reason


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"trainer": "somebody"}, "not one that can be resumed"),
        ({"trainer_version": "9.0.1"}, "ultralytics 9.0.1 is not a release that is understood"),
        ({"trainer_version": "8.20"}, "ultralytics 8.20 is not a release that is understood"),
        ({"run_dir": None}, "directory of the run is not known"),
        ({"entry": None}, "not known how the training was started"),
        ({"entry": "script", "train_calls": 2}, "The program started 2 trainings"),
        ({"train_calls": 3}, "The command started 3 trainings"),
        ({"batch": None}, "effective batch or weight decay"),
        ({"accumulate": None}, "effective batch or weight decay"),
        ({"nbs": None}, "effective batch or weight decay"),
        ({"weight_decay": None}, "effective batch or weight decay"),
    ],
)
def test_what_is_not_known_to_be_safe_is_refused(change: dict[str, Any], part: str) -> None:
    assert part in refused(state(failed(), PRINTS), user=replace(SPEC, **change)).reason


def test_a_second_training_seen_last_counts_too() -> None:
    words = replace(failed(), train_calls=2)
    user = replace(SPEC, entry="script")
    assert "runs" not in refused(state(words, PRINTS), user=user).reason
    assert "Nothing is run twice" in refused(state(words, PRINTS), user=user).reason
    once = planned(state(failed(), PRINTS, entry="script"), user=user)
    assert once.edits.batch == 8


def test_unknown_numbers_of_trainings_are_not_one() -> None:
    run = state(replace(failed(), train_calls=None), PRINTS, train_calls=None)
    assert "not known how" in refused(run, user=replace(SPEC, train_calls=None)).reason


def test_no_oom_is_refused_with_the_verdicts_own_words() -> None:
    words = replace(failed(), exception="ValueError", text="labels are wrong")
    assert refused(state(words)).reason.startswith("Nothing is changed: It ended with ValueError")
    done = replace(state(failed(), PRINTS), finished=True)
    assert "finished" in refused(done, status=0).reason


def test_observing_changes_nothing() -> None:
    assert "observe" in refused(state(failed(), PRINTS), policy=Policy(mode="observe")).reason


def test_recommending_plans() -> None:
    assert planned(state(failed(), PRINTS), policy=Policy(mode="recommend")).edits.batch == 8


def test_setup_is_not_answered_by_a_smaller_batch() -> None:
    assert "before the first batch" in refused(state(failed(phase="setup"))).reason


def test_a_run_without_progress_is_for_a_person() -> None:
    history = AttemptHistory().with_end(0, None).with_end(1, None).with_end(2, None)
    reason = refused(state(failed(), PRINTS), history=history).reason
    assert reason == (
        "The run makes no progress: the last 3 attempts completed no new epoch (the limit is 3). "
        "A person is needed."
    )


def test_an_unknown_failed_batch_is_refused() -> None:
    run = state(failed(phase="data", batch=None), PRINTS, batch=None)
    assert "batch that failed is not known" in refused(run).reason


# ---------------------------------------------------------------- properties

RUNS = st.builds(
    lambda fixed, per_pixel, batch, grow, phase, attempt: state(
        failed(
            phase=phase,
            batch=batch,
            allocated=round(fixed + per_pixel * batch * 640**2 * grow),
            requested=GIB // 8,
        ),
        linear_footprints(fixed, per_pixel, [(batch, 480), (batch, 608)]),
        batch=batch,
        attempt=attempt,
    ),
    fixed=st.integers(GIB // 4, 16 * GIB),
    per_pixel=st.floats(200.0, 9000.0),
    batch=st.integers(1, 96),
    grow=st.floats(0.5, 1.2),
    phase=st.sampled_from(["forward", "backward", "optimizer", "validation", "data"]),
    attempt=st.integers(0, 5),
)


def user_of(run: RunState) -> RunSpec:
    assert run.spec is not None
    assert run.spec.batch is not None
    return replace(SPEC, batch=run.spec.batch, accumulate=max(round(64 / run.spec.batch), 1))


@given(RUNS)
def test_the_effective_batch_is_always_kept(run: RunState) -> None:
    user = user_of(run)
    decision = decide(run, user=user)
    if isinstance(decision, Plan):
        edits = decision.edits
        assert run.spec is not None
        assert run.spec.batch is not None
        assert decision.effective_batch == user.effective_batch
        if edits.batch is None:
            assert decision.levers[0].cost is Cost.FREE
            return
        assert edits.nbs == user.effective_batch == decision.effective_batch
        assert edits.nbs is not None
        assert edits.nbs % edits.batch == 0
        assert 1 <= edits.batch < run.spec.batch
        assert decision.reason
    else:
        assert decision.reason.endswith(".")


@given(RUNS, st.floats(0.3, 1.0))
def test_less_capacity_never_takes_a_larger_batch(run: RunState, part: float) -> None:
    user, laws = user_of(run), fit(run)
    verdict = classify(run, exit_status=1, exit_signal=None, asked_to_stop=False)
    assert verdict.capacity_bytes is not None
    less = replace(verdict, capacity_bytes=round(verdict.capacity_bytes * part))
    more, fewer = (
        plan(
            user=user,
            state=run,
            verdict=each,
            laws=laws,
            history=AttemptHistory(),
            # What is held in pieces is weighed against the capacity: that lever keeps the batch.
            policy=WITHOUT_ALLOCATOR,
            incident="i",
        )
        for each in (verdict, less)
    )
    assert batch_of(fewer) <= batch_of(more)


def batch_of(decision: Plan | Refusal) -> int:
    """How much is dared: the batch that is tried, 0 for nothing."""
    if isinstance(decision, Refusal):
        return 0
    return 1000 if decision.edits.batch is None else decision.edits.batch  # it stays


@given(RUNS, st.sampled_from([each.name for each in fields(RunSpec)]))
def test_an_unknown_fact_about_the_users_run_never_makes_it_dare_more(
    run: RunState, name: str
) -> None:
    user = user_of(run)
    if name == "trainer":
        return  # the one field that cannot be unknown
    change: dict[str, Any] = {name: None}
    unknown = replace(user, **change)
    assert batch_of(decide(run, user=unknown)) <= batch_of(decide(run, user=user))


@given(
    RUNS,
    st.sampled_from(["capacity", "requested", "gradients", "words", "spec", "status", "device"]),
)
def test_an_unknown_measurement_never_makes_it_dare_more(run: RunState, what: str) -> None:
    """Of the figures one at a time; without any law at all the batch is halved and says so."""
    user = user_of(run)
    known = decide(run, user=user)
    words, spec = run.last_words, run.spec
    assert words is not None
    assert spec is not None
    if what == "status":
        verdict = classify(run, exit_status=None, exit_signal=None, asked_to_stop=False)
        unknown = plan(
            user=user,
            state=run,
            verdict=verdict,
            laws=fit(run),
            history=AttemptHistory(),
            policy=Policy(),
            incident="i",
        )
        assert batch_of(unknown) <= batch_of(known)
        return
    if what == "capacity":
        free = words.text[: words.text.index(" of which")] + "."
        memory = replace(words.memory, capacity_bytes=None)
        run = replace(run, last_words=replace(words, memory=memory, text=free))
    elif what == "requested":
        text = words.text.replace("Tried to allocate", "Tried to allocate 1 bytes or")
        run = replace(run, last_words=replace(words, text=text, requested_bytes=None))
    elif what == "gradients":
        run = replace(run, spec=replace(spec, parameter_bytes=None))
    elif what == "words":
        run = replace(run, last_words=None)
    elif what == "spec":
        run = replace(run, spec=None)
        if words.place.phase == "validation":
            assert batch_of(decide(run, user=user)) == 0
        return
    else:
        run = replace(run, spec=replace(spec, device=None))
    assert batch_of(decide(run, user=user)) <= batch_of(known)


def test_where_decides_whether_the_law_of_a_step_is_trusted() -> None:
    user = replace(SPEC, batch=24, accumulate=3)
    prints = linear_footprints(2 * GIB, 2100.0, [(24, 640)])
    for phase, expected in (("backward", 18), ("optimizer", 12), ("save", 12), ("data", 12)):
        words = failed(phase=phase, batch=24, allocated=21 * GIB, requested=2 * GIB)
        chosen = planned(state(words, prints, batch=24), user=user)
        assert chosen.edits.batch == expected, phase
