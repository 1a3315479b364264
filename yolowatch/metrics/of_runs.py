"""A run's nouns as readings: what is not known is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from yolowatch.hook.wire import PHASES
from yolowatch.metrics.reading import Known, Reading, by_value, known
from yolowatch.metrics.snapshot import RunMetrics
from yolowatch.metrics.table_runs import WINDOW_SECONDS
from yolowatch.model.run import RunState, Sample


def of_run(run: RunMetrics) -> Iterator[Reading]:
    """All that is known of one run."""
    facts = _facts(run)
    yield Reading("yolowatch_run_info", (run.run,), facts)
    yield Reading("yolowatch_run_state", (run.run,), run.phase)
    if run.alive and run.state.place.phase in PHASES:
        yield Reading("yolowatch_run_phase", (run.run,), run.state.place.phase)
    for rank, state in _ranks(run) if run.alive else ():
        yield from known("yolowatch_", _of_allocator(run.run, rank, state))
    yield from known("yolowatch_", _of_training(run))
    yield from known("yolowatch_", _of_forecast(run))
    yield from known("yolowatch_", _of_host(run))
    yield from known("yolowatch_", _of_hook(run))
    yield from _remedies(run)


def window(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples of the last moments, of those that are still kept."""
    begin = samples[-1].at - WINDOW_SECONDS if samples else 0.0
    return [each for each in samples if each.at > begin]


def _facts(run: RunMetrics) -> dict[str, str]:
    spec = run.state.spec
    facts = {"torch": run.state.torch, "user": run.user, "mode": run.mode}
    if spec is not None:
        names = ("trainer", "trainer_version", "model", "task", "precision", "run_dir")
        facts |= {name: getattr(spec, name) for name in names}
    return {name: text for name, text in facts.items() if text is not None}


def _ranks(run: RunMetrics) -> list[tuple[str, RunState]]:
    """The states whose memory is exported, by rank; of two of one rank the later one counts."""
    told = {str(each.rank.number): each for each in run.ranks if each.rank is not None}
    if told:
        return sorted(told.items())
    return [(str(run.state.rank.number) if run.state.rank is not None else "0", run.state)]


def _of_allocator(run: str, rank: str, state: RunState) -> Known:
    spec, memory = state.spec, state.memory
    if spec is None or spec.device is None:
        return  # whose memory it is, is not known
    labels = (run, rank, spec.device)
    seen = [each.allocated_max_bytes for each in window(state.samples)]
    yield "allocated_bytes", labels, memory.allocated_bytes
    yield "active_bytes", labels, memory.active_bytes
    yield "reserved_bytes", labels, memory.reserved_bytes
    yield "inactive_split_bytes", labels, memory.inactive_split_bytes
    yield "peak_bytes", labels, memory.peak_bytes
    peaks = [each for each in seen if each is not None]
    yield "window_peak_bytes", labels, max(peaks, default=None)
    yield "capacity_bytes", labels, memory.capacity_bytes
    yield "headroom_bytes", labels, memory.headroom_bytes
    yield "allocation_retries_total", labels, memory.retries
    yield "allocation_failures_total", labels, memory.ooms


def _of_training(run: RunMetrics) -> Known:
    state, spec, place, labels = run.state, run.state.spec, run.state.place, (run.run,)
    yield "run_epoch", labels, None if place.epoch is None else place.epoch + 1
    yield "run_steps_total", labels, place.step
    yield "run_step_seconds", labels, step_seconds(state.samples) if run.alive else None
    yield "run_progress_timestamp_seconds", labels, run.progress_at
    sides = [side for side in (place.height, place.width) if side is not None]
    yield "run_image_size_pixels", labels, max(sides, default=None)
    if spec is not None:
        yield "run_epochs", labels, spec.epochs
        yield "run_batch_size", labels, spec.batch
        yield "run_validation_batch_size", labels, spec.validation_batch
        yield "run_accumulation_steps", labels, spec.accumulate
        yield "run_effective_batch_size", labels, spec.effective_batch
        yield "run_ranks", labels, state.ranks
    yield "run_paused", labels, run.paused
    yield "run_journal_writable", labels, run.journal_writable


def step_seconds(samples: Sequence[Sample]) -> float | None:
    """Time of a batch, over those of the last windows in which one ended; None where none did."""
    told = [
        (each.seconds, each.steps)
        for each in window(samples)
        if each.seconds is not None and each.steps is not None
    ]
    steps = sum(number for _, number in told)
    return sum(seconds for seconds, _ in told) / steps if steps else None


def _of_forecast(run: RunMetrics) -> Known:
    yield "predicted_peak_bytes", (run.run,), run.predicted_peak_bytes
    by_phase = {each.phase: each for each in reversed(run.outlooks)}  # the first of one counts
    for phase, outlook in by_phase.items():
        labels = (run.run, phase)
        yield "forecast_peak_bytes", labels, outlook.point_bytes
        yield "forecast_bound_bytes", labels, outlook.bound_bytes
        yield "forecast_capacity_bytes", labels, outlook.capacity_bytes
        yield "forecast_oom_probability_ratio", labels, outlook.probability


def _of_host(run: RunMetrics) -> Known:
    host, labels = run.host, (run.run,)
    yield "run_processes", labels, host.processes
    yield "run_resident_bytes", labels, host.resident_bytes
    yield "run_cgroup_used_bytes", labels, host.cgroup_used_bytes
    yield "run_cgroup_limit_bytes", labels, host.cgroup_limit_bytes
    yield "run_shm_used_bytes", labels, host.shm_used_bytes
    yield "run_shm_capacity_bytes", labels, host.shm_capacity_bytes


def _of_hook(run: RunMetrics) -> Known:
    state, labels = run.state, (run.run,)
    yield "hook_connected", labels, run.hook_connected
    yield "hook_messages_total", labels, state.messages
    yield "hook_messages_dropped_total", labels, state.dropped
    yield "hook_faults_total", labels, state.faults


def _remedies(run: RunMetrics) -> Iterator[Reading]:
    labels, named = (run.run,), run.exemplars
    yield Reading("yolowatch_attempts_total", labels, run.attempts)
    if run.remedied_at is not None:
        yield Reading("yolowatch_remediation_timestamp_seconds", labels, run.remedied_at)
    yield from by_value("yolowatch_incidents_total", labels, run.incidents, named)
    yield from by_value("yolowatch_incidents_closed_total", labels, run.outcomes, named)
    yield from by_value("yolowatch_remediations_total", labels, run.remediations, named)
    failures = run.remediation_failures
    yield from by_value("yolowatch_remediation_failures_total", labels, failures, named)
    yield from by_value("yolowatch_live_changes_total", labels, run.live_changes, named)
    yield Reading("yolowatch_refusals_total", labels, run.refusals)
    yield Reading("yolowatch_checkpoints_vaulted_total", labels, run.vaulted)
    spent = run.spent
    yield Reading("yolowatch_steps_lost_total", labels, spent.steps_lost)
    yield Reading("yolowatch_steps_saved_total", labels, spent.steps_saved)
    yield Reading("yolowatch_device_seconds_lost_total", labels, spent.device_seconds_lost)
    yield Reading("yolowatch_device_seconds_saved_total", labels, spent.device_seconds_saved)
