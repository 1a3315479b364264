"""The host's memory: each cause is told by its own text, and answered by levers of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decide.build import GIB, SPEC, state
from tests.decide.corpus import (
    CACHING,
    CPU,
    CUDA,
    DISGUISED,
    HOST,
    LOADING,
    NOT_OOM,
    Report,
)
from yolowatch.decide.budget import AttemptHistory
from yolowatch.decide.detect import classify
from yolowatch.decide.forecast import Laws
from yolowatch.decide.host import Cause, host_cause
from yolowatch.decide.planner import plan
from yolowatch.model.plan import LEVERS, Cost, Edits, Plan, Policy, Refusal
from yolowatch.model.run import LastWords, Memory, Place, RunState
from yolowatch.model.verdict import Kind, Where

LOADS = {"workers": 8, "cache": "ram", "pin_memory": True}


def ids(report: Report) -> str:
    return report.name


def run(
    report: Report, phase: str | None = "forward", handled: bool = False, **spec: Any
) -> RunState:
    words = LastWords(
        at=1.0,
        exception=report.exception,
        text=report.text,
        place=Place(phase, 3, 40),
        memory=Memory(allocated_bytes=GIB, capacity_bytes=4 * GIB),
        train_calls=1,
        handled=handled,
    )
    return state(words, **{**LOADS, **spec})


def cause(run: RunState) -> Cause | None:
    assert run.last_words is not None
    return host_cause(run, run.last_words)


def decided(run: RunState, earlier: Edits | None = None, **policy: Any) -> Plan | Refusal:
    verdict = classify(run, exit_status=1, exit_signal=None, asked_to_stop=False)
    return plan(
        user=SPEC,
        earlier=earlier or Edits(),
        state=run,
        verdict=verdict,
        laws=Laws(),
        history=AttemptHistory(),
        policy=Policy(**policy),
        incident="incident",
    )


def edits(run: RunState, **more: Any) -> Edits:
    found = decided(run, **more)
    assert isinstance(found, Plan), found
    assert {use.cost for use in found.levers} == {Cost.FREE}
    return found.edits


KILLED, SHARED, PINNED = LOADING[0][1], LOADING[1][1], LOADING[-1][1]


@pytest.mark.parametrize(("name", "report"), LOADING, ids=[each.name for _, each in LOADING])
def test_every_published_form_has_its_cause(name: str, report: Report) -> None:
    for phase in ("setup", "data", "forward", "backward", "validation", None):
        for device in ("cuda:0", "cpu", None):
            failed = run(report, phase, device=device)
            assert cause(failed) is Cause[name]
            verdict = classify(failed, exit_status=1, exit_signal=None, asked_to_stop=False)
            assert verdict.kind.is_host
            assert verdict.sentence.startswith("Host out of memory ")


@pytest.mark.parametrize("report", CPU + HOST + CACHING, ids=ids)
def test_while_images_are_cached_in_memory_its_lack_is_the_caches(report: Report) -> None:
    for phase in ("setup", "data"):
        for device in ("cuda:0", "cpu"):
            assert cause(run(report, phase, device=device)) is Cause.CACHE
            for elsewhere in ("disk", "none", None):
                assert cause(run(report, phase, device=device, cache=elsewhere)) is None
    for phase in ("forward", "backward", "optimizer", "validation", "save", None):
        assert cause(run(report, phase)) is None


@pytest.mark.parametrize("report", CUDA + NOT_OOM + DISGUISED, ids=ids)
def test_nothing_else_is_the_hosts(report: Report) -> None:
    assert cause(run(report)) is None
    for phase in ("setup", "data"):
        caching = report.name in [each.name for each in CACHING]
        assert cause(run(report, phase)) is (Cause.CACHE if caching else None)


@pytest.mark.parametrize(
    "text",
    [
        "DataLoader worker (pid 7) is killed by signal: Segmentation fault. ",
        "DataLoader worker (pid(s) 7) exited unexpectedly",
        "the DataLoader worker (pid 7) is killed by signal: Killed. ",
        "Caught RuntimeError in pin memory thread for device 0.\nRuntimeError: invalid argument",
        "Caught RuntimeError in DataLoader worker process 0.\nRuntimeError: out of memory",
        "Caught ValueError in DataLoader worker process 0.\nValueError: MemoryError",
        "unable to open shared memory object </torch_1_2_3> in read-write mode: "
        "Too many open files (24)",
    ],
)
def test_other_ends_of_workers_have_other_causes(text: str) -> None:
    assert cause(run(Report("", "", "RuntimeError", text))) is None


def test_what_the_program_handled_is_not_acted_upon() -> None:
    verdict = classify(
        run(KILLED, handled=True), exit_status=1, exit_signal=None, asked_to_stop=False
    )
    assert verdict.kind is Kind.ERROR


# ---------------------------------------------------------------- the levers


def test_the_cache_goes_to_the_disk_and_then_away() -> None:
    assert edits(run(CACHING[0], "setup")) == Edits(cache="disk")
    assert edits(run(KILLED)) == Edits(cache="disk")
    assert edits(run(KILLED, cache="disk")) == Edits(cache="none")


def test_workers_are_halved_until_there_are_none() -> None:
    left, seen = 8, []
    while left:
        found = edits(run(SHARED, workers=left)).workers
        assert found is not None
        left = found
        seen.append(left)
    assert seen == [4, 2, 1, 0]
    assert edits(run(KILLED, cache="none")) == Edits(workers=4)


def test_pages_are_unpinned_before_workers_go() -> None:
    assert edits(run(PINNED)) == Edits(pin_memory=False)
    assert edits(run(PINNED, pin_memory=False)) == Edits(workers=4)
    again = edits(run(PINNED), earlier=Edits(pin_memory=False))
    assert again == Edits(pin_memory=False, workers=4), "what was given stays"


def test_a_failure_before_the_first_batch_is_answered() -> None:
    failed = run(CACHING[0], "setup", accumulate=None, effective_weight_decay=None)
    verdict = classify(failed, exit_status=1, exit_signal=None, asked_to_stop=False)
    assert verdict.where is Where.SETUP
    assert failed.spec is not None
    found = plan(
        user=failed.spec,
        state=failed,
        verdict=verdict,
        laws=Laws(),
        history=AttemptHistory(),
        policy=Policy(),
        incident="incident",
    )
    assert isinstance(found, Plan)
    assert (found.edits, found.effective_batch) == (Edits(cache="disk"), None)


@pytest.mark.parametrize(
    ("failed", "policy"),
    [
        (run(SHARED, workers=0), {}),
        (run(SHARED, workers=None), {}),
        (run(KILLED, workers=0, cache="none"), {}),
        (run(KILLED, workers=None, cache=None), {}),
        (run(SHARED), {"levers": ("batch", "cache")}),
        (run(CACHING[0], "setup"), {"levers": ("batch", "workers")}),
        (run(PINNED, workers=0, pin_memory=None), {}),
    ],
)
def test_without_a_lever_that_is_known_to_help_it_is_refused(
    failed: RunState, policy: dict[str, Any]
) -> None:
    found = decided(failed, **policy)
    assert isinstance(found, Refusal)
    assert "No lever for that is left" in found.reason


@given(
    st.sampled_from([each for _, each in LOADING] + list(CACHING)),
    st.sets(st.sampled_from(["workers", "cache", "pin_memory", "device", "batch", "nbs"])),
    st.sampled_from(["setup", "data", "forward", None]),
    st.sets(st.sampled_from(LEVERS)),
)
def test_it_never_touches_the_batch_and_never_adds(
    report: Report, unknown: set[str], phase: str | None, allowed: set[str]
) -> None:
    failed = run(report, phase, **dict.fromkeys(unknown))
    found = decided(failed, levers=tuple(allowed))
    if isinstance(found, Plan):
        rest = replace(found.edits, workers=None, cache=None, pin_memory=None)
        assert rest == Edits()
        assert found.edits.workers is None or found.edits.workers < LOADS["workers"]  # type: ignore[operator]
        assert found.edits.cache in (None, "disk")
        assert {use.name for use in found.levers} <= allowed
