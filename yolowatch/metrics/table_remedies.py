"""The metrics of what went wrong, what was done about it, and what it cost and saved."""

from __future__ import annotations

from yolowatch.metrics.metric import counter, gauge
from yolowatch.model.opt_in import OPT_IN
from yolowatch.model.plan import COSTS
from yolowatch.model.verdict import Kind

INCIDENT_KINDS = tuple(kind.value for kind in Kind if kind.is_incident)
LEVERS = (*COSTS, *OPT_IN, "other")
LIVE_LEVERS = (
    "multi-scale",
    "validation batch",
    "checkpointing",
    "planned restart",
    "guarded start",
    "released cache",
    "other",
)
OUTCOMES = (
    "healed",  # the run finished, or trains on
    "refused",  # a reasoned decision not to act
    "abandoned",  # a step of the remedy could not be carried out, or somebody stepped in
    "failed",  # what was started again failed
    "recommended",  # a plan was made, and acting was not wanted
    "observed",  # not even a plan was wanted
    "prevented",  # the training was changed while it ran
    "rescued",  # the process itself went on
    "passed",  # seen of a run that lived, and not seen any more
    "other",
)

_RUN = ("run",)

REMEDIES = (
    counter("attempts", "Times the run's command was started; the first is the user's own.", _RUN),
    counter("incidents", "What went wrong with a run, by kind.", ("run", "kind"), INCIDENT_KINDS),
    counter(
        "incidents_closed",
        "Incidents that have ended, by how.",
        ("run", "outcome"),
        OUTCOMES,
    ),
    counter("remediations", "Remediations that were begun, by lever.", ("run", "lever"), LEVERS),
    gauge(
        "remediation_timestamp_seconds",
        "When a remedy last started the run again.",
        _RUN,
        "seconds",
    ),
    counter(
        "remediation_failures",
        "Remediations that could not be carried out or whose attempt failed again, by lever.",
        ("run", "lever"),
        LEVERS,
    ),
    counter(
        "live_changes",
        "Changes of a training while it ran, by lever: nothing was started again for them.",
        ("run", "lever"),
        LIVE_LEVERS,
    ),
    counter(
        "refusals",
        "Reasoned decisions not to act on a failure: a person is needed.",
        _RUN,
    ),
    counter(
        "checkpoints_vaulted",
        "Checkpoints that were validated and copied into the vault.",
        _RUN,
    ),
    counter(
        "steps_lost",
        "Training batches that failures have made to be done again.",
        _RUN,
    ),
    counter(
        "steps_saved",
        "Training batches of attempts that a remedy has started: without it the run had ended.",
        _RUN,
    ),
    counter(
        "device_seconds_lost",
        "Time from the state that was resumed to the first new batch, times the devices.",
        _RUN,
    ),
    counter(
        "device_seconds_saved",
        "Time that attempts which a remedy has started have trained, times the devices.",
        _RUN,
    ),
)
