"""What may be told of a captured process: everything but its environment."""

from __future__ import annotations

from collections.abc import Mapping

from yolowatch.edges.captures import Kept
from yolowatch.edges.names import group_names, user_name
from yolowatch.hands.port import Inspected
from yolowatch.model.adoption import Adoption

_SCHEDULERS = {
    "SLURM_JOB_ID": "Slurm",
    "PBS_JOBID": "PBS",
    "LSB_JOBID": "LSF",
    "JOB_ID": "Grid Engine",
    "KUBERNETES_SERVICE_HOST": "Kubernetes",
}


def inspected(kept: Kept) -> Inspected:
    """For the core."""
    captured = kept.captured
    return Inspected(
        captured.uid,
        captured.gid,
        captured.argv,
        captured.cwd,
        user_name(captured.uid),
        group_names((captured.gid, *captured.groups)),
        kept.ancestors,
        _scheduler(captured.environment),
    )


def adoption(kept: Kept) -> Adoption:
    """For whoever guards the run, see `standing_by`."""
    captured = kept.captured
    return Adoption(
        captured.process,
        captured.uid,
        captured.argv,
        captured.cwd,
        ancestors=kept.ancestors,
        scheduler=_scheduler(captured.environment),
    )


def _scheduler(environment: Mapping[str, str]) -> str | None:
    """Who gave the process its place on this machine, and alone may give it another."""
    for name, scheduler in _SCHEDULERS.items():
        if environment.get(name):
            return f"{scheduler} started the training, and restarts are its own business"
    return None
