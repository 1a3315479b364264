"""The one table of metrics: what is exported, what it means, under which labels.

Everything else follows it: `render` can export nothing that is not declared here, the reference is
generated from it, and dashboards and rules are checked against it. A name is part of the public
interface: renaming one breaks somebody's alert.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from yolowatch.model.verdict import Kind


class Type(str, Enum):
    """The Prometheus types in use; the value is what the reference prints."""

    GAUGE = "gauge"
    COUNTER = "counter"
    SUMMARY = "summary"
    INFO = "info"
    STATE_SET = "state set"


@dataclass(frozen=True)
class Metric:
    """One family. `values` are the known values of its last label, exported from the start."""

    name: str
    type: Type
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    values: tuple[str, ...] = ()


class UndeclaredMetric(LookupError):
    """A metric that the table does not name: a mistake of the program, not of its user."""


RUN_STATES = (
    "starting",  # no training has been seen yet
    "training",
    "remediating",  # a plan is being carried out
    "finished",
    "stopped",  # on request
    "refused",  # it failed, and a reasoned decision was made not to act
    "failed",
)
INCIDENT_KINDS = tuple(kind.value for kind in Kind if kind.is_incident)
LEVERS = ("batch",)

INFO_LABELS = {
    "yolowatch_run_info": (
        "trainer", "trainer_version", "model", "task", "precision", "torch", "run_dir",
    ),
    "yolowatch_build_info": ("version", "python"),
}  # fmt: skip
"""The labels of an info, beside those that name its subject."""

_RUN = ("run",)
_DEVICE = ("run", "device")

_ALLOCATOR = (
    Metric(
        "yolowatch_allocated_bytes",
        Type.GAUGE,
        "Memory of live tensors; on the CPU what the process's memory limit counts.",
        _DEVICE,
        "bytes",
    ),
    Metric(
        "yolowatch_reserved_bytes",
        Type.GAUGE,
        "Memory that the caching allocator holds from the device.",
        _DEVICE,
        "bytes",
    ),
    Metric(
        "yolowatch_inactive_split_bytes",
        Type.GAUGE,
        "Memory in unused parts of split blocks, which fragmentation makes unusable.",
        _DEVICE,
        "bytes",
    ),
    Metric(
        "yolowatch_peak_bytes",
        Type.GAUGE,
        "The most that was allocated at once since the process began.",
        _DEVICE,
        "bytes",
    ),
    Metric(
        "yolowatch_capacity_bytes",
        Type.GAUGE,
        "The most that this process could have: its own memory and what is free, if allowed.",
        _DEVICE,
        "bytes",
    ),
    Metric(
        "yolowatch_headroom_bytes",
        Type.GAUGE,
        "What could still be allocated: the capacity less what is allocated.",
        _DEVICE,
        "bytes",
    ),
    Metric(
        "yolowatch_allocation_retries_total",
        Type.COUNTER,
        "Allocations that succeeded only after cached memory was given back.",
        _DEVICE,
    ),
    Metric(
        "yolowatch_allocation_failures_total",
        Type.COUNTER,
        "Allocations that failed for lack of memory, also those the trainer survived.",
        _DEVICE,
    ),
)

_RUNS = (
    Metric(
        "yolowatch_run_info",
        Type.INFO,
        "Facts about a run that do not change: trainer, model, task, precision.",
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
        "yolowatch_run_epoch",
        Type.GAUGE,
        "The epoch that is being trained, counted from 1 as the trainers print it.",
        _RUN,
    ),
    Metric("yolowatch_run_epochs", Type.GAUGE, "Epochs that the run is to have in all.", _RUN),
    Metric(
        "yolowatch_run_steps_total",
        Type.COUNTER,
        "Training batches that ended in the present attempt.",
        _RUN,
    ),
    Metric("yolowatch_run_batch_size", Type.GAUGE, "Images in a training batch.", _RUN),
    Metric(
        "yolowatch_run_accumulation_steps",
        Type.GAUGE,
        "Batches whose gradients are accumulated for one optimizer step, after warm-up.",
        _RUN,
    ),
    Metric(
        "yolowatch_run_effective_batch_size",
        Type.GAUGE,
        "Images an optimizer step: batch times accumulation. A remedy keeps it.",
        _RUN,
    ),
    Metric(
        "yolowatch_run_image_size_pixels",
        Type.GAUGE,
        "Longer side of the images in the present batch.",
        _RUN,
        "pixels",
    ),
    Metric(
        "yolowatch_predicted_peak_bytes",
        Type.GAUGE,
        "Peak that was predicted for the present attempt, where a remedy changed it.",
        _RUN,
        "bytes",
    ),
)

_REMEDIES = (
    Metric(
        "yolowatch_attempts_total",
        Type.COUNTER,
        "Times the run's command was started; the first is the user's own.",
        _RUN,
    ),
    Metric(
        "yolowatch_incidents_total",
        Type.COUNTER,
        "Failures of a run by kind.",
        ("run", "kind"),
        values=INCIDENT_KINDS,
    ),
    Metric(
        "yolowatch_remediations_total",
        Type.COUNTER,
        "Remediations that were begun, by lever.",
        ("run", "lever"),
        values=LEVERS,
    ),
    Metric(
        "yolowatch_remediation_failures_total",
        Type.COUNTER,
        "Remediations that could not be carried out or whose attempt failed again, by lever.",
        ("run", "lever"),
        values=LEVERS,
    ),
    Metric(
        "yolowatch_refusals_total",
        Type.COUNTER,
        "Reasoned decisions not to act on a failure: a person is needed.",
        _RUN,
    ),
    Metric(
        "yolowatch_checkpoints_vaulted_total",
        Type.COUNTER,
        "Checkpoints that were validated and copied into the vault.",
        _RUN,
    ),
)

_HOOK = (
    Metric(
        "yolowatch_hook_connected",
        Type.GAUGE,
        "1 while the hook in the training process is connected, else 0.",
        _RUN,
    ),
    Metric(
        "yolowatch_hook_messages_total",
        Type.COUNTER,
        "Messages received from the hook in the present attempt.",
        _RUN,
    ),
    Metric(
        "yolowatch_hook_messages_dropped_total",
        Type.COUNTER,
        "Messages that the hook dropped rather than wait.",
        _RUN,
    ),
    Metric(
        "yolowatch_hook_faults_total",
        Type.COUNTER,
        "Failures inside the hook; the training went on untouched.",
        _RUN,
    ),
)

_SELF = (
    Metric("yolowatch_build_info", Type.INFO, "Version of yolowatch and of its Python."),
    Metric("yolowatch_queue_events", Type.GAUGE, "Events that wait to be worked on."),
    Metric(
        "yolowatch_queue_dropped_total",
        Type.COUNTER,
        "Events that were dropped because the queue was full.",
    ),
    Metric(
        "yolowatch_hook_messages_rejected_total",
        Type.COUNTER,
        "Messages on the hook's socket that were malformed or of another version.",
    ),
    Metric(
        "yolowatch_cycle_duration_seconds",
        Type.SUMMARY,
        "Time that one cycle of the supervisor took.",
        unit="seconds",
    ),
    Metric(
        "yolowatch_scrape_duration_seconds",
        Type.SUMMARY,
        "Time that answering one scrape took.",
        unit="seconds",
    ),
    Metric("yolowatch_scrape_errors_total", Type.COUNTER, "Scrapes that could not be answered."),
)

SECTIONS: tuple[tuple[str, tuple[Metric, ...]], ...] = (
    ("Allocator", _ALLOCATOR),
    ("Run", _RUNS),
    ("Incidents and remedies", _REMEDIES),
    ("Hook", _HOOK),
    ("Supervisor", _SELF),
)
TABLE: tuple[Metric, ...] = tuple(each for _, section in SECTIONS for each in section)
_BY_NAME = {each.name: each for each in TABLE}


def declared(name: str) -> Metric:
    """The metric of this name; raises UndeclaredMetric."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UndeclaredMetric(f"{name} is not in yolowatch/metrics/table.py") from None
