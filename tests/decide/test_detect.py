"""The verdict: what is acted upon, what is not, and what a person reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.decide.build import GIB, SPEC, failed, footprint, state
from tests.decide.corpus import CPU, CUDA, DISGUISED, HOST, NOT_OOM, Report
from yolowatch.decide.detect import classify
from yolowatch.model.run import LastWords, Memory, Place, Retry, RunState
from yolowatch.model.surroundings import Around
from yolowatch.model.verdict import Kind, Verdict, Where


def ended(
    run: RunState, status: int | None = 1, signal: int | None = None, *, asked: bool = False
) -> Verdict:
    if signal is not None:
        status = None
    return classify(run, exit_status=status, exit_signal=signal, asked_to_stop=asked)


def words(report: Report, *, phase: str | None = "forward", handled: bool = False) -> LastWords:
    return LastWords(
        at=1.0,
        exception=report.exception,
        text=report.text,
        place=Place(phase, 3, 40, 16, 640, 640, 4, 10),
        memory=Memory(allocated_bytes=3 * GIB, capacity_bytes=4 * GIB),
        train_calls=1,
        handled=handled,
    )


def ids(report: Report) -> str:
    return report.name


@pytest.mark.parametrize("report", CUDA, ids=ids)
def test_every_cuda_form_is_a_failure_of_the_device(report: Report) -> None:
    """Of which kind: test_corpus."""
    verdict = ended(state(words(report)))
    assert verdict.kind in (Kind.CUDA_OOM, Kind.FRAGMENTATION, Kind.FREE_MEMORY)
    assert verdict.capacity_bytes == pytest.approx(report.capacity or 4 * GIB, abs=2)


@pytest.mark.parametrize("report", CPU, ids=ids)
def test_every_cpu_form_is_a_cpu_oom_when_the_cpu_is_the_device(report: Report) -> None:
    verdict = ended(state(words(report), device="cpu"))
    assert verdict.kind is Kind.CPU_OOM
    assert verdict.capacity_bytes == 4 * GIB


@pytest.mark.parametrize("report", CPU + HOST, ids=ids)
@pytest.mark.parametrize("device", ["cuda:0", None])
def test_host_memory_of_a_gpu_training_is_not_acted_upon(
    report: Report, device: str | None
) -> None:
    verdict = ended(state(words(report), device=device))
    assert verdict.kind is Kind.ERROR
    assert "host's memory" in verdict.sentence


@pytest.mark.parametrize("report", HOST, ids=ids)
def test_the_hosts_own_errors_count_inside_the_step_only(report: Report) -> None:
    for phase in ("forward", "loss", "backward", "optimizer", "validation"):
        verdict = ended(state(words(report, phase=phase), device="cpu"))
        assert verdict.kind is Kind.CPU_OOM
    for outside in ("setup", "data", "save", None):
        verdict = ended(state(words(report, phase=outside), device="cpu"))
        assert verdict.kind is Kind.ERROR


@pytest.mark.parametrize("report", NOT_OOM, ids=ids)
@pytest.mark.parametrize("device", ["cuda:0", "cpu"])
def test_what_is_no_memory_failure_is_an_error(report: Report, device: str) -> None:
    verdict = ended(state(words(report), device=device))
    assert verdict.kind is Kind.ERROR
    assert not verdict.kind.is_oom


@pytest.mark.parametrize("report", DISGUISED, ids=ids)
def test_a_disguised_failure_counts_only_where_memory_was_short(report: Report) -> None:
    said = words(report)
    tight = replace(said, memory=replace(said.memory, peak_bytes=round(3.9 * GIB)))
    assert ended(state(tight, device="cpu")).kind is Kind.CPU_OOM
    assert ended(state(tight, device="cuda:0")).kind is Kind.ERROR
    assert "not seen to be short" in ended(state(said, device="cpu")).sentence
    unknown = replace(tight, memory=replace(tight.memory, capacity_bytes=None))
    assert ended(state(unknown, device="cpu")).kind is Kind.ERROR
    elsewhere = replace(tight, place=replace(tight.place, phase="data"))
    assert ended(state(elsewhere, device="cpu")).kind is Kind.ERROR


@pytest.mark.parametrize(
    "report",
    [
        Report("torch.save into a buffer", "-", "ValueError", "I/O operation on closed file."),
        Report("the interpreter's own", "-", "MemoryError", ""),
    ],
    ids=ids,
)
def test_a_save_that_is_cut_short_counts_only_where_memory_was_short(report: Report) -> None:
    said = words(report, phase="save")
    tight = replace(said, memory=replace(said.memory, peak_bytes=round(3.9 * GIB)))
    verdict = ended(state(tight, device="cpu"))
    assert (verdict.kind, verdict.where) == (Kind.CPU_OOM, Where.SAVE)
    assert ended(state(said, device="cpu")).kind is Kind.ERROR
    assert ended(state(tight, device="cuda:0")).kind is Kind.ERROR
    elsewhere = replace(tight, place=replace(tight.place, phase="data"))
    assert ended(state(elsewhere, device="cpu")).kind is Kind.ERROR


def test_torchs_words_in_a_plain_error_are_believed_only_if_the_allocator_agrees() -> None:
    old_form = words(CUDA[7])
    counted_none = replace(old_form, memory=replace(old_form.memory, ooms=0))
    counted_one = replace(old_form, memory=replace(old_form.memory, ooms=1))
    assert ended(state(counted_none)).kind is Kind.ERROR
    assert ended(state(counted_one)).kind is Kind.CUDA_OOM


def test_success_is_success_whatever_was_met_on_the_way() -> None:
    retry = Retry(1.0, Place("backward"), 16, "CUDA out of memory.")
    run = replace(state(), retries=(retry,), finished=True)
    assert ended(run, 0).kind is Kind.FINISHED
    assert ended(replace(run, last_words=failed(handled=True)), 0).kind is Kind.FINISHED


@pytest.mark.parametrize("status", [0, 1, 3])
def test_what_the_program_handles_is_the_programs_own_affair(status: int) -> None:
    verdict = ended(state(failed(handled=True)), status)
    assert verdict.kind is Kind.HANDLED_OOM
    assert not verdict.kind.is_oom


def test_a_handled_error_that_is_no_oom_is_an_error() -> None:
    assert ended(state(words(NOT_OOM[0], handled=True))).kind is Kind.ERROR


@pytest.mark.parametrize("signal", [1, 2, 15])
def test_stopping_signals_interrupt(signal: int) -> None:
    assert ended(state(), signal=signal).kind is Kind.INTERRUPTED


@pytest.mark.parametrize("signal", [6, 9, 11])
def test_other_signals_kill(signal: int) -> None:
    verdict = ended(state(), signal=signal)
    assert verdict.kind is Kind.KILLED
    assert str(signal) in verdict.sentence


def test_a_crash_with_little_memory_left_says_so_and_is_still_no_oom() -> None:
    memory = Memory(allocated_bytes=round(3.98 * GIB), capacity_bytes=4 * GIB)
    verdict = ended(replace(state(device="cpu"), memory=memory), signal=11)
    assert verdict.kind is Kind.KILLED
    assert verdict.sentence.endswith("but memory was short: 4.0 GiB in use of 4.0 GiB.")
    calm = replace(memory, allocated_bytes=2 * GIB)
    assert "short" not in ended(replace(state(), memory=calm), signal=11).sentence


@pytest.mark.parametrize("signal", [None, 9])
def test_whom_the_kernel_counts_among_its_kills_ran_out_of_memory(signal: int | None) -> None:
    def verdict(run: RunState, kills: int | None, number: int | None = signal) -> Kind:
        return classify(
            run,
            exit_status=None,
            exit_signal=number,
            asked_to_stop=False,
            around=Around(oom_kills=kills),
        ).kind

    gpu, cpu = state(device="cuda:0", cache="none"), state(device="cpu", cache="none")
    assert verdict(gpu, 1) is Kind.HOST_OOM
    assert verdict(cpu, 1) is Kind.CPU_OOM
    assert verdict(state(device="cpu", cache="ram"), 1) is Kind.HOST_OOM
    unexplained = Kind.OBSERVED if signal is None else Kind.KILLED
    assert {verdict(gpu, kills) for kills in (0, None)} == {unexplained}
    assert verdict(replace(gpu, finished=True), 1) is not Kind.HOST_OOM
    assert verdict(gpu, 1, 11) is Kind.KILLED


def test_a_shells_status_for_a_signal_is_that_signal() -> None:
    assert ended(state(), 128 + 2).kind is Kind.INTERRUPTED
    assert ended(state(), 128 + 9).kind is Kind.KILLED


def test_a_person_who_stops_it_is_obeyed_even_after_a_failure() -> None:
    assert ended(state(failed()), asked=True).kind is Kind.INTERRUPTED
    assert ended(state(failed()), signal=2).kind is Kind.INTERRUPTED
    keyboard = replace(failed(), exception="KeyboardInterrupt", text="")
    assert ended(state(keyboard), 1).kind is Kind.INTERRUPTED


@pytest.mark.parametrize("signal", [9, 15])
def test_a_hung_exit_that_had_to_be_ended_is_still_the_failure_it_was(signal: int) -> None:
    verdict = ended(state(failed()), signal=signal)
    assert verdict.kind is Kind.CUDA_OOM
    assert f"ended by signal {signal}" in verdict.evidence


def test_without_a_hook_only_the_outside_is_known() -> None:
    verdict = ended(RunState(attempt=0), 1)
    assert verdict.kind is Kind.OBSERVED
    assert "no hook" in verdict.sentence
    assert ended(RunState(attempt=0), 0).kind is Kind.FINISHED


def test_a_silent_end_is_observed() -> None:
    assert ended(state(), 1).kind is Kind.OBSERVED


@pytest.mark.parametrize("words", [None, failed(handled=True)])
def test_an_unknown_end_concludes_nothing(words: LastWords | None) -> None:
    verdict = classify(state(words), exit_status=None, exit_signal=None, asked_to_stop=False)
    assert verdict.kind is Kind.OBSERVED


def test_an_exception_that_nobody_caught_needs_no_status() -> None:
    verdict = classify(state(failed()), exit_status=None, exit_signal=None, asked_to_stop=False)
    assert verdict == ended(state(failed()))


def test_what_the_hook_called_finished_needs_no_status() -> None:
    finished = replace(state(None), finished=True)
    verdict = classify(finished, exit_status=None, exit_signal=None, asked_to_stop=False)
    assert verdict.kind is Kind.FINISHED


@pytest.mark.parametrize(
    ("phase", "where"),
    [
        ("setup", Where.SETUP),
        ("forward", Where.STEP),
        ("loss", Where.STEP),
        ("backward", Where.STEP),
        ("validation", Where.VALIDATION),
        ("save", Where.SAVE),
        ("data", Where.UNKNOWN),
        (None, Where.UNKNOWN),
    ],
)
def test_where_it_struck(phase: str | None, where: Where) -> None:
    assert ended(state(failed(phase=phase))).where is where


def test_the_first_optimizer_step_is_told_from_later_ones() -> None:
    in_step = failed(phase="optimizer")
    assert ended(state(in_step, optimizer_state_exists=False)).where is Where.FIRST_OPTIMIZER_STEP
    assert ended(state(in_step, optimizer_state_exists=True)).where is Where.OPTIMIZER
    seen = (footprint("optimizer", 0, 0, GIB, GIB),)
    stepped = state(in_step, seen, optimizer_state_exists=False)
    assert ended(stepped).where is Where.OPTIMIZER
    early = replace(in_step, place=replace(in_step.place, step=2))
    assert ended(state(early, optimizer_state_exists=None)).where is Where.FIRST_OPTIMIZER_STEP
    assert ended(state(in_step, optimizer_state_exists=None)).where is Where.OPTIMIZER


def test_a_multi_scale_peak_is_a_step_above_the_nominal_size() -> None:
    assert ended(state(failed(side=768), image_size_max=960)).where is Where.MULTI_SCALE_PEAK
    assert ended(state(failed(side=640), image_size_max=960)).where is Where.STEP
    assert ended(state(failed(side=672), image_size_max=640)).where is Where.STEP


def test_the_sentence_and_the_evidence() -> None:
    verdict = ended(state(failed(side=768, epoch=11), image_size_max=960))
    assert verdict.sentence == (
        "CUDA out of memory in backward at 768 px with batch 16 (epoch 12): "
        "22.0 GiB in use of 23.5 GiB."
    )
    assert verdict.evidence[0].startswith("torch.OutOfMemoryError: CUDA out of memory. Tried to")
    assert "phase backward" in verdict.evidence
    assert "batch 16 at 768 x 768 px" in verdict.evidence
    assert "requested 2.0 GiB" in verdict.evidence
    assert "capacity 23.5 GiB" in verdict.evidence


def test_what_is_unknown_is_left_out_and_never_written_as_zero() -> None:
    bare = LastWords(1.0, "torch.OutOfMemoryError", CUDA[4].text, Place(), Memory())
    verdict = ended(replace(state(bare), spec=None))
    assert verdict.kind is Kind.CUDA_OOM
    assert verdict.sentence == "CUDA out of memory."
    assert verdict.capacity_bytes is None
    assert all(" 0 " not in each and "None" not in each for each in verdict.evidence)


def test_hostile_texts_are_escaped_and_cut() -> None:
    evil = "\x1b]0;owned\x07\u202e" + "A" * 5000
    verdict = ended(state(replace(failed(), exception="Evil\x1b[31m", text=evil)))
    shown = verdict.sentence + "".join(verdict.evidence)
    assert verdict.kind is Kind.ERROR
    assert shown.isprintable()
    assert len(shown) < 800


def test_the_recognised_device_is_named() -> None:
    assert ended(state(words(CUDA[3]))).sentence.startswith("HIP out of memory")
    assert ended(state(words(CPU[0]), device="cpu")).sentence.startswith("CPU out of memory")


def test_kinds_other_than_these_are_no_oom() -> None:
    device = {Kind.CUDA_OOM, Kind.CPU_OOM, Kind.FRAGMENTATION, Kind.FORESEEN}
    host = {Kind.HOST_OOM, Kind.SHARED_MEMORY, Kind.PINNED_MEMORY, Kind.RAM_CACHE}
    assert {e for e in Kind if e.is_oom} == device | host
    assert {e for e in Kind if e.is_host} == host
    assert {e for e in Kind if e.is_waited_out} == {Kind.NEIGHBOUR, Kind.NOT_BACK}
    assert SPEC.effective_batch == 64
