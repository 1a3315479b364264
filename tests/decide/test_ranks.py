"""What the ranks of one training say together, and what is planned for all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.decide.build import SPEC, failed, state
from yolowatch.decide.budget import AttemptHistory
from yolowatch.decide.detect import classify
from yolowatch.decide.forecast import Laws, fit
from yolowatch.decide.ladder import Recipe, smaller_batches
from yolowatch.decide.planner import plan
from yolowatch.decide.ranks import first_failed, is_echo, merged, unfit
from yolowatch.model.plan import Law, Plan, Policy, Refusal, Start
from yolowatch.model.receipt import ResumePoint, science_notes
from yolowatch.model.run import LastWords, Place, Rank, RunState
from yolowatch.model.verdict import Kind

ECHOES = [
    ("RuntimeError", "[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by "
     "peer [127.0.0.1]:2713"),
    ("RuntimeError", "NCCL communicator was aborted on rank 0."),
    ("torch.distributed.DistBackendError", "NCCL error in: ProcessGroupNCCL.cpp:1101, unhandled "
     "cuda error"),
    ("RuntimeError", "Timed out waiting 1800000ms for recv operation to complete"),
    ("RuntimeError", "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL"),
]  # fmt: skip


def rank(number: int, ranks: int = 2, words: LastWords | None = None) -> RunState:
    told = state(words)
    return replace(told, last_words=words, rank=Rank(number, ranks, ranks, 0))


def echo(at: float = 1.0, which: int = 0) -> LastWords:
    return LastWords(at, *ECHOES[which], place=Place("backward"), memory=failed().memory)


@pytest.mark.parametrize("which", range(len(ECHOES)))
def test_a_lost_peer_is_an_echo(which: int) -> None:
    assert is_echo(echo(which=which))


def test_a_lack_of_memory_or_a_mistake_is_none() -> None:
    assert not is_echo(failed())
    assert not is_echo(replace(echo(), exception="ValueError"))
    assert not is_echo(replace(echo(), text="mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize("echo_at", [1.0, 99.0])
def test_the_cause_decides_whichever_is_heard_first(echo_at: float) -> None:
    cause = replace(failed(), at=50.0)
    both = [rank(0, words=echo(echo_at)), rank(1, words=cause)]
    told = merged(both)
    assert told.last_words == cause
    verdict = classify(told, exit_status=1, exit_signal=None, asked_to_stop=False)
    assert verdict.kind is Kind.CUDA_OOM
    found = first_failed(both)
    assert found is both[1]


def test_of_two_failures_the_first_is_the_cause() -> None:
    late, early = replace(failed(), at=9.0), replace(failed(), at=8.0)
    assert merged([rank(0, words=late), rank(1, words=early)]).last_words == early


def test_the_first_rank_says_what_is_saved_and_the_failed_one_what_it_took() -> None:
    first = replace(rank(0), last_epoch_ended=7, finished=False)
    second = replace(rank(1, words=failed()), footprints=(), last_epoch_ended=None)
    told = merged([second, first])
    assert told.last_epoch_ended == 7
    assert told.footprints == ()
    assert told.last_words == second.last_words


def test_the_first_rank_speaks_for_a_group_that_did_not_fail() -> None:
    assert merged([rank(1), rank(0)]) == rank(0)


def test_a_batch_stays_divisible_and_is_weighed_by_what_one_rank_takes() -> None:
    recipe = Recipe.of(replace(SPEC, batch=24, accumulate=3, nbs=64))
    assert recipe is not None
    laws = Laws(Law("backward", 0.0, 1.0, 1), None, weak=False)
    two = smaller_batches(SPEC, recipe, rank(1, words=failed(batch=12)), laws, 24)
    assert [each.batch for each in two] == [18, 12, 8, 6, 4, 2]
    assert [each.peaks.training for each in two] == [each.batch // 2 * 640 * 640 for each in two]
    four = smaller_batches(SPEC, recipe, rank(1, 4, words=failed(batch=6)), laws, 24)
    assert [each.batch for each in four] == [12, 8, 4]


def decided(ranks: int, **spec: int) -> Plan | Refusal:
    user = replace(SPEC, **spec)
    words = failed(batch=(user.batch or 0) // ranks)
    told = replace(state(words), spec=user, rank=Rank(1, ranks, ranks, 0))
    verdict = classify(told, exit_status=1, exit_signal=None, asked_to_stop=False)
    history = AttemptHistory().with_end(0, None)
    return plan(
        user=user,
        state=told,
        verdict=verdict,
        laws=fit(told),
        history=history,
        policy=Policy(),
        incident="i",
    )


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_a_plan_keeps_the_effective_batch_in_equal_parts(ranks: int) -> None:
    found = decided(ranks, batch=16, accumulate=4)
    assert isinstance(found, Plan)
    batch, nbs = found.edits.batch, found.edits.nbs
    assert batch is not None
    assert batch % ranks == 0
    assert batch < 16
    assert nbs == found.effective_batch == 64
    assert f"{batch // ranks} in each of {ranks} ranks" in found.reason
    point = ResumePoint(Start.RESUME, "it is whole", epoch=3)
    notes = science_notes(replace(SPEC, batch=16, accumulate=4), found, point, retried=False)
    said = f"over {batch // ranks} images at a time instead of {16 // ranks}, in each rank."
    assert any(said in note for note in notes)
    assert any("Over single images" in note for note in notes) == (batch // ranks == 1)


def test_one_image_a_rank_is_the_least() -> None:
    found = decided(2, batch=2, accumulate=32)
    assert isinstance(found, Refusal)
    assert found.reason.startswith("It cannot fit")


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (Rank(0, 2, 2, 0), None),
        (Rank(0, 2, 2, 3), "--max-restarts 3"),
        (Rank(0, 4, 2, 0), "2 of its 4 ranks run on other machines"),
        (Rank(0, 2, None, 0), "not started by torchrun"),
        (Rank(0, 2, 2, None), "not started by torchrun"),
    ],
)
def test_groups_that_are_left_alone(told: Rank, reason: str | None) -> None:
    found = unfit(told)
    assert found is None if reason is None else reason in (found or "")
