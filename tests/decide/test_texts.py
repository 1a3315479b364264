"""Every published form of a memory failure is recognised, with its figures; nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decide.corpus import (
    CPU,
    CUDA,
    DEVICE_FAULTS,
    DISGUISED,
    DISGUISED_DEVICE,
    ECHOES,
    FREE_MEMORY,
    HOST,
    NEIGHBOURS,
    NOT_OOM,
    RESUMED,
    Report,
)
from yolowatch.decide.texts import Source, parse_capacity, recognise


def ids(report: Report) -> str:
    return report.name


@pytest.mark.parametrize("report", CUDA + NEIGHBOURS + FREE_MEMORY + RESUMED, ids=ids)
def test_device_failures(report: Report) -> None:
    form = recognise(report.exception, report.text)
    assert form is not None
    assert form.source is Source.DEVICE


@pytest.mark.parametrize("report", CPU, ids=ids)
def test_cpu_allocator_failures(report: Report) -> None:
    form = recognise(report.exception, report.text)
    assert form is not None
    assert form.source is Source.CPU


@pytest.mark.parametrize("report", HOST, ids=ids)
def test_host_failures_are_not_the_devices(report: Report) -> None:
    form = recognise(report.exception, report.text)
    assert form is not None
    assert form.source is not Source.DEVICE


@pytest.mark.parametrize("report", DISGUISED + DISGUISED_DEVICE, ids=ids)
def test_disguised_failures_are_marked_as_such(report: Report) -> None:
    form = recognise(report.exception, report.text)
    assert form is not None
    assert form.disguised
    assert not any(f.disguised for f in (recognise(r.exception, r.text) for r in CUDA + CPU) if f)


@pytest.mark.parametrize("report", NOT_OOM + DEVICE_FAULTS + ECHOES, ids=ids)
def test_nothing_else_is_recognised(report: Report) -> None:
    assert recognise(report.exception, report.text) is None


@pytest.mark.parametrize("report", CUDA + NEIGHBOURS + FREE_MEMORY + RESUMED + CPU, ids=ids)
def test_the_figures_are_read(report: Report) -> None:
    figures = parse_capacity(report.text)
    assert figures.requested == report.requested
    if report.capacity is None:
        assert figures.capacity is None
    else:
        assert figures.capacity == pytest.approx(report.capacity, abs=2)


def test_a_text_cut_short_is_still_recognised() -> None:
    for report in CUDA[:4]:
        assert recognise(report.exception, report.text[:160]) is not None


def test_torchs_own_underflow_is_no_figure() -> None:
    text = (
        "CUDA out of memory. Tried to allocate 2.13 GiB. GPU 0 has a total capacity of 8.00 GiB of "
        "which 17179869184.00 GiB is free. Of the allocated memory 954.00 MiB is allocated by "
        "PyTorch, and 0 bytes is reserved by PyTorch but unallocated."
    )
    assert parse_capacity(text).free is None
    assert parse_capacity(text).capacity is None


def test_more_reserved_than_allocated_is_never_negative() -> None:
    text = "(GPU 0; 8.00 GiB total capacity; 5.00 GiB already allocated; 4.00 GiB reserved in total"
    assert parse_capacity(text + " by PyTorch)").reserved_unallocated == 0


@given(st.text(max_size=300), st.sampled_from([r.text for r in CUDA + CPU]), st.integers(0, 300))
def test_hostile_texts_raise_nothing(noise: str, text: str, at: int) -> None:
    mixed = text[:at] + noise + text[at:]
    figures = parse_capacity(mixed)
    recognise("RuntimeError", mixed)
    for value in vars(figures).values():
        assert value is None or 0 <= value < 1 << 50


@given(st.text(min_size=1, max_size=40))
def test_words_before_the_form_make_it_somebody_elses(prefix: str) -> None:
    text = prefix + CUDA[7].text
    expected = text.startswith("CUDA out of memory. Tried to allocate")
    assert (recognise("RuntimeError", text) is not None) == expected
