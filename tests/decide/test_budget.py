"""The budget counts attempts without progress, not attempts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from yolowatch.decide.budget import AttemptHistory, exhausted, without_progress


def history(*completed: int | None) -> AttemptHistory:
    found = AttemptHistory()
    for attempt, epoch in enumerate(completed):
        found = found.with_end(attempt, epoch)
    return found


def test_progress_resets_the_count() -> None:
    assert without_progress(history()) == 0
    assert without_progress(history(0)) == 0
    assert without_progress(history(None, None)) == 2
    assert without_progress(history(4, 4, 3)) == 2
    assert without_progress(history(4, 4, 5)) == 0
    assert without_progress(history(None, 2, None, 2)) == 2


def test_the_limit_is_named() -> None:
    assert exhausted(history(3, 3, 3), 3) is None
    reason = exhausted(history(3, 3, 3, None), 3)
    assert reason == "the last 3 attempts completed no new epoch (the limit is 3)"


@given(st.lists(st.one_of(st.none(), st.integers(0, 20)), max_size=12), st.integers(0, 11))
def test_unknown_progress_is_never_more_than_known(ends: list[int | None], at: int) -> None:
    if at < len(ends):
        unknown = list(ends)
        unknown[at] = None
        last = at == len(ends) - 1
        # Forgetting an older epoch can only make a later one look new if the later is known.
        later_known = any(each is not None for each in ends[at + 1 :])
        if last or not later_known:
            assert without_progress(history(*unknown)) >= without_progress(history(*ends))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_a_run_that_always_completes_more_is_never_stopped(steps: list[int]) -> None:
    epochs = [sum(steps[: i + 1]) + i for i in range(len(steps))]
    assert exhausted(history(*epochs), 1) is None
