"""Metrics of a run: its allocator, what is trained, its hook, the host's memory that it holds."""

from __future__ import annotations

from yolowatch.hook.wire import PHASES
from yolowatch.metrics.metric import Metric, Type, counter, gauge

RUN_STATES = (
    "starting",  # no training has been seen yet
    "training",
    "remediating",  # a plan is being carried out
    "waiting",  # a plan waits for a person
    "finished",
    "stopped",  # on request, or somebody else has taken it over
    "refused",  # it failed, and a reasoned decision was made not to act
    "failed",
)
RUN_INFO = (
    "trainer", "trainer_version", "model", "task", "precision", "torch", "run_dir", "user", "mode",
)  # fmt: skip
WINDOW_SECONDS = 15.0
"""What a figure of "the last moments" is of: a usual distance between two scrapes."""

_RUN = ("run",)
_DEVICE = ("run", "rank", "device")

ALLOCATOR = (
    gauge(
        "allocated_bytes",
        "Memory of live tensors; on the CPU what the process's memory limit counts.",
        _DEVICE,
        "bytes",
    ),
    gauge(
        "active_bytes",
        "Allocated memory, and freed blocks that wait because a stream may still use them.",
        _DEVICE,
        "bytes",
    ),
    gauge(
        "reserved_bytes",
        "Memory that the caching allocator holds from the device.",
        _DEVICE,
        "bytes",
    ),
    gauge(
        "inactive_split_bytes",
        "Memory in unused parts of split blocks, which fragmentation makes unusable.",
        _DEVICE,
        "bytes",
    ),
    gauge(
        "peak_bytes",
        "The most that was allocated at once since the process began.",
        _DEVICE,
        "bytes",
    ),
    gauge(
        "window_peak_bytes",
        "The most that was seen allocated in the last 15 s, at the ends of the phases.",
        _DEVICE,
        "bytes",
    ),
    gauge(
        "capacity_bytes",
        "The most that this process could have: its own memory and what is free, if allowed.",
        _DEVICE,
        "bytes",
    ),
    gauge(
        "headroom_bytes",
        "What could still be allocated: the capacity less what is allocated.",
        _DEVICE,
        "bytes",
    ),
    counter(
        "allocation_retries",
        "Allocations that succeeded only after cached memory was given back.",
        _DEVICE,
    ),
    counter(
        "allocation_failures",
        "Allocations that failed for lack of memory, also those the trainer survived.",
        _DEVICE,
    ),
)

RUNS = (
    Metric(
        "yolowatch_run_info",
        Type.INFO,
        "Facts about a run that do not change: trainer, model, task, precision, whose it is.",
        _RUN,
    ),
    Metric(
        "yolowatch_run_state",
        Type.STATE_SET,
        "What a run is doing: exactly one state is 1.",
        _RUN,
        values=RUN_STATES,
    ),
    Metric(
        "yolowatch_run_phase",
        Type.STATE_SET,
        "Which phase of a batch or an epoch the run was in when its hook last spoke.",
        _RUN,
        values=PHASES,
    ),
    gauge(
        "run_epoch",
        "The epoch that is being trained, counted from 1 as the trainers print it.",
        _RUN,
    ),
    gauge("run_epochs", "Epochs that the run is to have in all.", _RUN),
    counter("run_steps", "Training batches that ended in the present attempt.", _RUN),
    gauge(
        "run_step_seconds",
        "Time of a training batch: the mean of the last 15 s in which one ended.",
        _RUN,
        "seconds",
    ),
    gauge(
        "run_progress_timestamp_seconds",
        "When a batch, an epoch or a phase of the run was last seen to begin or end.",
        _RUN,
        "seconds",
    ),
    gauge("run_batch_size", "Images in a training batch.", _RUN),
    gauge("run_validation_batch_size", "Images in a validation batch.", _RUN),
    gauge(
        "run_accumulation_steps",
        "Batches whose gradients are accumulated for one optimizer step, after warm-up.",
        _RUN,
    ),
    gauge(
        "run_effective_batch_size",
        "Images an optimizer step: batch times accumulation. A remedy keeps it.",
        _RUN,
    ),
    gauge(
        "run_image_size_pixels",
        "Longer side of the images in the present batch.",
        _RUN,
        "pixels",
    ),
    gauge("run_ranks", "Processes that train one model together.", _RUN),
    gauge("run_paused", "1 while nothing is done about the run because of a pause, else 0.", _RUN),
    gauge(
        "run_journal_writable",
        "1 while every decision is on disk; 0 where it is not, and the run is only watched.",
        _RUN,
    ),
)

FORECAST = (
    gauge(
        "predicted_peak_bytes",
        "Peak that was predicted for the present attempt, where a remedy changed it.",
        _RUN,
        "bytes",
    ),
    gauge(
        "forecast_peak_bytes",
        "The highest peak that is still expected of the present attempt.",
        ("run", "phase"),
        "bytes",
    ),
    gauge(
        "forecast_bound_bytes",
        "What that peak exceeds in one case of a hundred.",
        ("run", "phase"),
        "bytes",
    ),
    gauge(
        "forecast_capacity_bytes",
        "The capacity that the forecast was held against.",
        ("run", "phase"),
        "bytes",
    ),
    gauge(
        "forecast_oom_probability_ratio",
        "How likely the run, as it is configured now, runs out of memory before its end: 0 to 1.",
        ("run", "phase"),
        "ratio",
    ),
)

HOST = (
    gauge("run_processes", "Processes of the run on this machine.", _RUN),
    gauge(
        "run_resident_bytes",
        "Resident memory of the run's processes; what they share counts more than once.",
        _RUN,
        "bytes",
    ),
    gauge(
        "run_cgroup_used_bytes",
        "Memory that counts in the run's tightest control group, of all its processes.",
        _RUN,
        "bytes",
    ),
    gauge("run_cgroup_limit_bytes", "The limit of that control group.", _RUN, "bytes"),
    gauge("run_shm_used_bytes", "What is used of the /dev/shm that the run sees.", _RUN, "bytes"),
    gauge("run_shm_capacity_bytes", "What that /dev/shm can hold.", _RUN, "bytes"),
    gauge("host_available_bytes", "Memory of the machine to be had without swapping.", (), "bytes"),
    gauge("host_capacity_bytes", "Memory of the machine.", (), "bytes"),
)

HOOK = (
    gauge(
        "hook_connected",
        "1 while the hook in the training process is connected, else 0.",
        _RUN,
    ),
    counter("hook_messages", "Messages received from the hook in the present attempt.", _RUN),
    counter("hook_messages_dropped", "Messages that the hook dropped rather than wait.", _RUN),
    counter("hook_faults", "Failures inside the hook; the training went on untouched.", _RUN),
)
