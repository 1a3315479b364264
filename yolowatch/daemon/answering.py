"""What the daemon answers through its control socket: pure, from a request and a view.

An answer says no in a sentence, or yes with a body, or asks for something to be done: then the
command comes with it, and whoever carries that out may answer later and better. Runs that the asker
may not see do not exist for them, also in what is said of others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from yolowatch.decide.authority import may
from yolowatch.model.control import (
    Approve,
    AttachTo,
    Command,
    ControlRequest,
    Detach,
    Pause,
    ResumeRun,
    Rollback,
)
from yolowatch.model.view import OVER, FleetView, RunView

OwnerOf = Callable[[int], "int | None"]
"""The uid of a process, None where there is none or it cannot be known."""

MAX_INCIDENTS = 8
"""The newest of each run, where all runs are shown."""


@dataclass(frozen=True)
class Answer:
    """`body` is the JSON object; with a `command` it is what to say once that is done."""

    body: Mapping[str, Any]
    command: Command | None = None


def answer(request: ControlRequest, view: FleetView, owner_of: OwnerOf) -> Answer:
    """The answer to a well-formed request; `owner_of` is asked for attach and detach only."""
    verb, arguments = request.verb, request.arguments
    if verb in ("attach", "detach"):
        return _process(request, view, owner_of)
    own = tuple(run for run in view.runs if may(request, run.uid, view.control_group) is None)
    if arguments.get("run") is None:
        return _all(request, view, own)
    found = _find(own, arguments["run"])
    if isinstance(found, str):
        return refused(found)
    if verb == "status":
        return granted(run=asdict(found))
    return _command(request, found)


def granted(**body: Any) -> Answer:
    """Yes, and this is what there is to know."""
    return Answer({"ok": True, **body})


def refused(sentence: str) -> Answer:
    """No, and why."""
    return Answer({"ok": False, "error": sentence})


def _all(request: ControlRequest, view: FleetView, own: tuple[RunView, ...]) -> Answer:
    if request.verb == "status":
        return granted(**_status(request, view, own))
    refusal = may(request, view.own_uid, view.control_group)
    if refusal is not None:
        return refused(f"{refusal} Name one of your runs.")
    if request.verb == "pause":
        return _done(Pause(None), "paused: everything is observed, nothing is acted on")
    return _done(ResumeRun(None), "resumed: the modes of the runs are in force again")


def _status(
    request: ControlRequest, view: FleetView, own: tuple[RunView, ...]
) -> Mapping[str, Any]:
    shown = replace(
        view,
        runs=tuple(
            replace(run, receipts=(), incidents=run.incidents[-MAX_INCIDENTS:]) for run in own
        ),
    )
    if may(request, view.own_uid, view.control_group) is not None:
        # What is wrong in the configuration may name others.
        trouble = "there is one" if view.config_trouble else None
        shown = replace(shown, config_trouble=trouble, notes=())
    return asdict(shown)


def _command(request: ControlRequest, run: RunView) -> Answer:
    if request.verb == "pause":
        return _done(Pause(run.run), f"run {run.run} is paused: it is observed, never acted on")
    if request.verb == "resume":
        return _done(ResumeRun(run.run), f"run {run.run} is resumed: mode {run.mode}")
    if request.verb == "rollback":
        if run.state in OVER:
            return refused(
                f"Run {run.run} is over and its files are yours alone: `yolowatch show {run.run}` "
                "has the lines that put them back."
            )
        if not run.replaced_files:
            return refused(f"Nothing of run {run.run} was changed, so nothing can be put back.")
        if run.state == "remediating":
            return refused(
                f"Run {run.run} is being remediated at this moment: pause it, or wait for the end."
            )
        return _done(Rollback(run.run), f"the files of run {run.run} are as they were")
    if run.plan is None:
        return refused(
            f"No plan of run {run.run} waits for approval: it is {run.state}; `yolowatch status "
            f"{run.run}` says more."
        )
    if run.paused:
        return refused(f"Run {run.run} is paused: `yolowatch resume` first, then approve.")
    wanted = request.arguments.get("plan")
    if wanted is not None and wanted != run.plan.id:
        return refused(
            f"Plan {wanted} of run {run.run} waits no more; plan {run.plan.id} does: look at it "
            "and approve that."
        )
    return _done(Approve(run.run, run.plan.id), f"plan {run.plan.id} of run {run.run} is approved")


def _process(request: ControlRequest, view: FleetView, owner_of: OwnerOf) -> Answer:
    pid = request.arguments["pid"]
    owner = owner_of(pid)
    if owner is None:
        return refused(f"There is no process {pid}: `yolowatch status` lists the runs with theirs.")
    refusal = may(request, owner, view.control_group)
    if refusal is not None:
        return refused(refusal)
    command = AttachTo(pid) if request.verb == "attach" else Detach(pid)
    return _done(command, f"{request.verb} {pid}: done")


def _find(own: tuple[RunView, ...], wanted: str) -> RunView | str:
    """The run of this id or unambiguous beginning of one, or the sentence of the refusal."""
    found = [run for run in own if run.run.startswith(wanted)]
    exact = [run for run in found if run.run == wanted]
    if len(found) == 1 or len(exact) == 1:
        return (exact or found)[0]
    if found:
        return f"{len(found)} runs' ids begin with {wanted}: give more of its characters."
    return f"No run of yours is called {wanted}: `yolowatch status` lists them."


def _done(command: Command, sentence: str) -> Answer:
    return Answer({"ok": True, "said": sentence}, command)
