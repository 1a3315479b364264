"""Between the protocol's plain values and the model's nouns, for both of its ends.

What the protocol leaves out, because the helper has no use for it or must not be told, is empty.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import PurePosixPath
from typing import Any

from yolowatch.edges.vault import NAME
from yolowatch.hands.helper import protocol
from yolowatch.hands.helper.bounds import Refused
from yolowatch.model import events
from yolowatch.model.actions import Remediation, RestoreFiles, RunStep, VaultCheckpoint
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Edits, Plan, Policy, Start
from yolowatch.model.receipt import FileChange, ResumePoint
from yolowatch.model.run import EmergencySave, RunSpec

_USER = (*protocol.USER.fields, *protocol.USER.optional)
_EMERGENCY = (*protocol.EMERGENCY.fields, *protocol.EMERGENCY.optional)
_POLICY = tuple(name for name in protocol.POLICY.fields if name != "grace_seconds")


# ---------------------------------------------------------------- from the model, by the core


def policy_to_json(policy: Policy, grace_seconds: float) -> dict[str, Any]:
    return {**{name: getattr(policy, name) for name in _POLICY}, "grace_seconds": grace_seconds}


def process_to_json(process: ProcessKey) -> dict[str, Any]:
    return {name: getattr(process, name) for name in protocol.PROCESS.fields}


def step_to_json(request: RunStep) -> dict[str, Any]:
    """Raises Refused for what is none of the helper's business."""
    order = request.remediation
    resume = request.resume
    return {
        "plan": order.plan_id,
        "step": request.step,
        "attempt": order.plan.attempt,
        "failed_attempt": order.failed_attempt,
        "edits": _given(order.plan.edits, tuple(each.name for each in fields(Edits))),
        "user": _given(order.user, _USER),
        "run_dir": order.run_dir,
        "checkpoint": _name(order.checkpoint, order.run_dir, protocol.CHECKPOINTS),
        "saved": order.saved,
        "processes": [process_to_json(each) for each in order.processes],
        "copies": [PurePosixPath(each).name for each in order.copies],
        "adopted": order.adopted,
        "emergency": _emergency_to_json(order.emergency),
        "resume": None
        if resume is None
        else {
            "start": resume.start.value,
            "epoch": resume.epoch,
            "sha256": resume.sha256,
            "emergency": _emergency_to_json(resume.emergency),
        },
    }


def restore_to_json(request: RestoreFiles) -> dict[str, Any]:
    """Raises Refused for a file that the helper would not have changed."""
    run_dirs = {str(PurePosixPath(change.path).parent) for change in request.changes}
    if len(run_dirs) != 1:
        raise Refused("files of one run directory are put back, and no others")
    run_dir = run_dirs.pop()
    changes = [each for each in request.changes if each.copy is not None]
    return {
        "run_dir": run_dir,
        "files": [
            {"name": _name(each.path, run_dir, protocol.FILES), "before": each.before}
            for each in changes
        ],
    }


def vault_to_json(request: VaultCheckpoint) -> dict[str, Any]:
    return {
        "run_dir": request.run_dir,
        "checkpoint": _name(request.path, request.run_dir, protocol.CHECKPOINTS),
        "attempt": request.attempt,
        "epoch": request.epoch,
    }


def _emergency_to_json(told: EmergencySave | None) -> dict[str, Any] | None:
    return None if told is None else _given(told, _EMERGENCY)


def _given(value: object, names: tuple[str, ...]) -> dict[str, Any]:
    found = {name: getattr(value, name) for name in names}
    return {
        name: list(each) if isinstance(each, tuple) else each
        for name, each in found.items()
        if each is not None
    }


def _name(path: str, run_dir: str, names: tuple[str, ...]) -> str:
    for name in names:
        if path == f"{run_dir}/{name}":
            return name
    raise Refused(f"{path} is none of the files that the helper touches")


# ---------------------------------------------------------------- to the model, by the worker


def policy(found: dict[str, Any]) -> Policy:
    # What it is not told to permit, a training that it starts does not do.
    return Policy(levers=(), **{name: found[name] for name in _POLICY})


def step(found: dict[str, Any]) -> RunStep:
    run_dir: str = found["run_dir"]
    checkpoint = f"{run_dir}/{found['checkpoint']}"
    edits: dict[str, Any] = {
        name: tuple(each) if isinstance(each, list) else each
        for name, each in found["edits"].items()
    }
    plan = Plan("", found["attempt"], Edits(**edits), (), None, None, 0.0, "")
    order = Remediation(
        plan_id=found["plan"],
        plan=plan,
        user=RunSpec(run_dir=run_dir, **found["user"]),
        failed_attempt=found["failed_attempt"],
        run_dir=run_dir,
        checkpoint=checkpoint,
        saved=found["saved"],
        processes=tuple(ProcessKey(**each) for each in found["processes"]),
        emergency=_emergency(found["emergency"]),
        copies=tuple(f"{run_dir}/{NAME}/checkpoints/{each}" for each in found["copies"]),
        adopted=found["adopted"],
    )
    point = found["resume"]
    resume = None
    if point is not None:
        start = Start(point["start"])
        resume = ResumePoint(
            start,
            "",
            checkpoint if start is Start.RESUME else None,
            point["epoch"],
            point["sha256"],
            _emergency(point["emergency"]),
        )
    return RunStep(order, found["step"], resume)


def restore(found: dict[str, Any]) -> RestoreFiles:
    """The copies are the vault's own, named after their content."""
    run_dir = found["run_dir"]
    return RestoreFiles(
        tuple(
            FileChange(
                f"{run_dir}/{each['name']}",
                each["before"],
                None,
                f"{run_dir}/{NAME}/originals/{each['before']}-{each['name']}",
            )
            for each in found["files"]
        )
    )


def vault(found: dict[str, Any]) -> VaultCheckpoint:
    run_dir = found["run_dir"]
    path = f"{run_dir}/{found['checkpoint']}"
    return VaultCheckpoint(path, run_dir, found["attempt"], found["epoch"])


def _emergency(found: dict[str, Any] | None) -> EmergencySave | None:
    if found is None:
        return None
    lists = {name: tuple(found[name] or ()) for name in ("losses", "loss_names", "rates")}
    return EmergencySave(0.0, found["epoch"], found["complete"], found["step"], **lists)


# ---------------------------------------------------------------- what is posted later


def event_to_json(event: events.Event) -> dict[str, Any]:
    return {"kind": type(event).__name__, **vars(event)}


def event(found: dict[str, Any], now: float) -> events.Event:
    """The event, at the time of whoever asks; raises Refused for another."""
    kind = {each.__name__: each for each in (events.CheckpointVaulted, events.CheckpointRefused)}
    try:
        values = {name: each for name, each in found.items() if name != "kind"}
        return kind[found["kind"]](**{**values, "at": now})
    except (KeyError, TypeError):
        raise Refused("no event that a helper posts") from None
