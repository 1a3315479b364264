"""Every failure of the corpus gets its kind, nothing else is ever an out-of-memory, and no text
harms the parser.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decide.build import GIB
from tests.decide.corpus import (
    CPU,
    CUDA,
    DEVICE_FAULTS,
    DISGUISED_DEVICE,
    ECHOES,
    FREE_MEMORY,
    LOADING,
    NEIGHBOURS,
    NOT_OOM,
    Report,
)
from tests.decide.corpus.cases import OWN, Case, cases, device, own, told
from tests.decide.corpus.living import Sequence, sequences
from tests.decide.corpus.matrix import matrix
from yolowatch.decide.detect import classify
from yolowatch.decide.texts_processes import listed
from yolowatch.model.run import RunState
from yolowatch.model.surroundings import Around
from yolowatch.model.verdict import Kind, Severity

ALL, RUNS = tuple(cases()), tuple(sequences())
OF_LIVING_RUNS = {
    Kind.NEAR_OOM, Kind.THRASHING, Kind.LEAK, Kind.DENSE_BATCHES, Kind.WEDGED_RANK, Kind.HOST_LEAK,
    Kind.FORESEEN,
}  # fmt: skip
AROUND = {Kind.FORESEEN, Kind.WEDGED_RANK, Kind.HOST_LEAK}
"""What no windows of one process show: test_watch has these, and test_prevent what is foreseen."""


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_it_is_what_it_is(case: Case) -> None:
    verdict = case.verdict()
    assert verdict.kind is case.kind, verdict.sentence
    assert verdict.severity in Severity
    assert verdict.sentence.endswith(".")
    if verdict.kind.is_answered and case.state.last_words is not None:
        assert verdict.evidence


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_it_is_seen_while_it_lives(run: Sequence) -> None:
    assert run.said() == ([] if run.kind is None else [run.kind])


def test_there_is_a_case_of_every_kind() -> None:
    ended, living = {case.kind for case in ALL}, {run.kind for run in RUNS}
    assert ended == set(Kind) - OF_LIVING_RUNS
    assert ended | living | AROUND == {*Kind, None}


def test_the_matrix_names_what_is_taken_for_something_else() -> None:
    table = matrix([("error", "error"), ("error", "cuda-oom"), ("leak", "leak")])
    assert table == "error    1 of   2  1 as cuda-oom\nleak     1 of   1"
    pairs = [(case.kind.value, case.verdict().kind.value) for case in ALL]
    diagonal = matrix([*pairs, *(pair for run in RUNS for pair in run.pairs())])
    assert " as " not in diagonal, diagonal


# ---------------------------------------------------------------- never an out-of-memory

ROOMY = st.builds(
    told,
    st.sampled_from(NOT_OOM + DEVICE_FAULTS),
    phase=st.sampled_from(["setup", "data", "forward", "backward", "validation", "save", None]),
    step=st.sampled_from([None, 0, 40]),
    used=st.sampled_from([GIB, round(23.9 * GIB), 24 * GIB]),
    capacity=st.sampled_from([None, 24 * GIB]),
    handled=st.booleans(),
    attempt=st.sampled_from([0, 1]),
    spec=st.fixed_dictionaries(
        {
            "device": st.sampled_from(["cuda:0", "cpu", None]),
            "cache": st.sampled_from(["none", None]),
            "resumed": st.booleans(),
        }
    ),
)
SEEN = st.sampled_from([Around(), Around(device(own()), (), xids=1), Around(device(), (), xids=0)])


@settings(max_examples=200)
@given(ROOMY, SEEN, st.sampled_from([(1, None), (None, 6), (None, None), (137, None)]))
def test_what_is_no_memory_failure_never_becomes_one(
    run: RunState, around: Around, ending: tuple[int | None, int | None]
) -> None:
    status, signal = ending
    verdict = classify(
        run, exit_status=status, exit_signal=signal, asked_to_stop=False, around=around
    )
    assert not verdict.kind.is_oom
    assert not verdict.kind.is_waited_out


@given(st.sampled_from(DISGUISED_DEVICE), st.sampled_from([None, 24 * GIB]), st.booleans())
def test_a_library_is_believed_only_where_memory_was_measured_to_be_short(
    report: Report, capacity: int | None, faulty: bool
) -> None:
    for used in (GIB, 22 * GIB, round(23.9 * GIB)):
        run = told(report, used=used, capacity=capacity)
        around = Around(device(own()), (OWN,), xids=1 if faulty else 0)
        verdict = classify(run, exit_status=1, exit_signal=None, asked_to_stop=False, around=around)
        short = capacity is not None and used > 0.95 * capacity and not faulty
        assert verdict.kind.is_oom == short
        assert short or verdict.kind in (Kind.LIBRARY, Kind.DEVICE_FAULT)


# ---------------------------------------------------------------- hostile texts

TEXTS = [
    report.text
    for report in (
        *CUDA, *CPU, *NOT_OOM, *DEVICE_FAULTS, *DISGUISED_DEVICE, *NEIGHBOURS, *FREE_MEMORY,
        *ECHOES, *(report for _, report in LOADING),
    )
]  # fmt: skip
TYPES = [
    "RuntimeError", "torch.OutOfMemoryError", "torch.AcceleratorError", "MemoryError", "",
    "torch.distributed.DistBackendError", "ValueError", "cv2.error", "OSError", "a.b.c",
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(TEXTS),
    st.sampled_from(TEXTS),
    st.text(max_size=200),
    st.integers(0, 400),
    st.integers(0, 400),
    st.sampled_from(TYPES),
    st.sampled_from([1, 7, 400]),
)
def test_mixed_and_cut_texts_raise_nothing(
    first: str, second: str, noise: str, at: int, to: int, kind: str, times: int
) -> None:
    text = (first[:at] + noise + second[to:]) * times
    run = told(replace(CUDA[0], exception=kind, text=text))
    verdict = classify(run, exit_status=1, exit_signal=None, asked_to_stop=False)
    assert verdict.sentence.isprintable()
    assert len(verdict.sentence) < 2000
    assert all(len(each) < 500 for each in verdict.evidence)


@pytest.mark.parametrize("piece", ["1", "9 GiB ", "Process 1 has ", "a\n", "NCCL error in: ", "("])
def test_endless_texts_are_read_in_passing(piece: str) -> None:
    """Text that no wire would carry: a pattern that goes back and forth would never end with it."""
    for begin in (
        "",
        "CUDA out of memory. Tried to allocate ",
        "NCCL error in: x unhandled cuda error",
    ):
        for kind in TYPES:
            run = told(Report("endless", "-", kind, begin + piece * 20_000))
            classify(run, exit_status=1, exit_signal=None, asked_to_stop=False)


# ---------------------------------------------------------------- the list of processes


def test_a_process_that_finds_itself_names_the_others() -> None:
    found = listed(NEIGHBOURS[0].text, None)
    assert found.others is not None
    assert [each.pid for each in found.others] == [1551]


IN_CONTAINER = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 24.00 GiB of "
    "which 1.00 GiB is free. Process 301 has 14.00 GiB memory in use. Process 302 has 9.00 GiB "
    "memory in use. Of the allocated memory 13.00 GiB is allocated by PyTorch, and 0.50 GiB is "
    "reserved by PyTorch but unallocated."
)
"""Constructed: in a container torch finds itself under the host's number, as one of the others."""


def test_in_a_container_the_process_itself_is_one_of_the_list() -> None:
    found = listed(IN_CONTAINER, round(13.5 * GIB))
    assert found.others is not None
    assert [each.pid for each in found.others] == [302]
    assert listed(IN_CONTAINER, None).others is None, "which of them it is, is not known"
    assert listed(IN_CONTAINER, GIB).others is None
    alone = IN_CONTAINER.replace("Process 302 has 9.00 GiB memory in use. ", "")
    assert listed(alone, None).others == (), "its own memory is nobody else's"


def test_a_process_of_unknown_size_is_listed_and_counts_as_nothing() -> None:
    text = IN_CONTAINER.replace("Process 301", "Including non-PyTorch memory, this process")
    nonsense = text.replace("9.00 GiB memory", "17179869184.00 GiB memory")
    found = listed(nonsense, None)
    assert found.others is not None
    assert [(each.pid, each.used_bytes) for each in found.others] == [(302, None)]
    run = told(Report("unknown", "-", "torch.OutOfMemoryError", nonsense))
    verdict = classify(run, exit_status=1, exit_signal=None, asked_to_stop=False)
    assert verdict.kind is Kind.CUDA_OOM
