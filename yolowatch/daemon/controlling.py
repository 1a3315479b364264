"""Carries out what people ask of the service, and what a changed configuration says.

Called by the loop, so that nothing here is ever concurrent with the fleet. What is paused is
written down before it is said to be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yolowatch import config
from yolowatch.daemon.answering import Answer, OwnerOf, answer, refused
from yolowatch.daemon.fleet import Fleet
from yolowatch.daemon.governing import Governor
from yolowatch.daemon.member import Do
from yolowatch.daemon.viewing import fleet_view
from yolowatch.edges import otlp
from yolowatch.edges.pausing import Paused, PauseFile
from yolowatch.errors import ConfigError
from yolowatch.model import events
from yolowatch.model.actions import Say
from yolowatch.model.control import (
    Approve,
    AttachTo,
    ControlRequest,
    Detach,
    Pause,
    ResumeRun,
    Rollback,
)
from yolowatch.model.device import DeviceReading

Perform = Callable[[Sequence[Do]], Sequence[str]]
"""Does what the fleet asks for; the sentences of what could not be put back."""

Reach = Callable[[AttachTo | Detach, Callable[[Mapping[str, Any]], None]], None]
"""Gets the hook into a process or out of it, and answers with a body when that is done."""


@dataclass(frozen=True)
class Surroundings:
    """What a controller asks of the rest of the service."""

    perform: Perform
    answer: Callable[[int, Mapping[str, Any]], None]
    owner_of: OwnerOf
    devices: Callable[[], Sequence[DeviceReading]]
    group_changed: Callable[[str], None]
    reach: Reach


class Controller:
    """The service's way to be commanded."""

    def __init__(
        self,
        fleet: Fleet,
        pauses: PauseFile,
        config_path: Path | None,
        around: Surroundings,
    ) -> None:
        self._fleet, self._pauses, self._around = fleet, pauses, around
        self._governor = Governor(fleet, pauses.read())
        self._config_path = str(config_path) if config_path is not None else None
        self.config_trouble: str | None = None  # why the last change was not taken

    @property
    def sentence(self) -> str:
        """The service in a line, for the one who started it."""
        said = f"runs: {len(self._fleet.members)}"
        if self._governor.paused.everything:
            said += "; paused"
        if self.config_trouble is not None:
            said += f"; the configuration stays as it was: {self.config_trouble}"
        return said

    @property
    def paused(self) -> bool:
        """Whether everything is."""
        return self._governor.paused.everything

    def asked(self, event: events.ControlReceived) -> None:
        """Somebody asks for something: do it, then answer."""
        request = event.request
        view = fleet_view(
            self._fleet,
            self.paused,
            self._around.devices(),
            self._config_path,
            self.config_trouble,
        )
        found = answer(request, view, self._around.owner_of)
        if isinstance(found.command, AttachTo | Detach):
            self._around.reach(
                found.command, lambda body: self._around.answer(request.connection, body)
            )
            return
        if found.command is not None:
            found = self._carried_out(request, found)
        self._around.answer(request.connection, found.body)

    def reconfigured(self, event: events.ConfigChanged) -> None:
        """The configuration's files have changed: take it whole, or keep the one before."""
        trouble = event.trouble
        if trouble is None:
            try:
                found = config.service(event.documents)
                otlp.check(found.otlp)
            except ConfigError as error:
                trouble = str(error)
            else:
                self.config_trouble = None
                self._around.group_changed(found.control_group)
                said = Do(None, Say("the configuration was read again and is in force"))
                self._around.perform([said, *self._governor.reconfigure(found)])
                return
        self.config_trouble = trouble
        said = Do(None, Say(f"the configuration stays as it was: {trouble}"))
        self._around.perform([said])

    def _carried_out(self, request: ControlRequest, found: Answer) -> Answer:
        governor, command = self._governor, found.command
        by = f"by uid {request.uid}"
        match command:
            case Approve():
                done = governor.approve(command.run, by)
                if not done:
                    return refused(f"No plan of run {command.run} waits any more.")
            case Pause():
                return self._pause(self._with(command.run, True), found, f"paused {by}")
            case ResumeRun():
                return self._pause(self._with(command.run, False), found, f"resumed {by}")
            case Rollback():
                done = governor.roll_back(command.run, by)
            case _:
                return found
        troubles = self._around.perform(done)
        return refused(" ".join(troubles)) if troubles else found

    def _with(self, run: str | None, paused: bool) -> Paused:
        if run is None:
            return replace(self._governor.paused, everything=paused)
        runs = self._governor.paused.runs | {run} if paused else self._governor.paused.runs - {run}
        return replace(self._governor.paused, runs=runs)

    def _pause(self, wanted: Paused, found: Answer, said: str) -> Answer:
        now = self._governor.paused
        resumed = now.everything > wanted.everything or now.runs > wanted.runs
        try:
            self._pauses.keep(wanted, self._fleet.members)
        except OSError as error:
            if resumed:
                return refused(f"It stays paused: {self._pauses.path} cannot be written ({error}).")
            body = {**found.body, "said": f"{found.body['said']}, until the daemon ends ({error})"}
            found = replace(found, body=body)
        self._around.perform([Do(None, Say(said)), *self._governor.pause(wanted)])
        return found
