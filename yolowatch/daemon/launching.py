"""Starts attempts of the supervised command, and waits until their memory is back.

The environment of the training is the user's own plus what the hook needs. It stays in memory only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolowatch.daemon.actions import Launch
from yolowatch.edges.clock import Clock
from yolowatch.edges.nvml import Nvml
from yolowatch.hands.port import Hands, Launched
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Edits, Policy, Start
from yolowatch.model.receipt import ResumePoint
from yolowatch.model.run import RunSpec
from yolowatch.trainers.families import family

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Hooking:
    """Where the staged hook lies and where it is to speak to."""

    stage: Path
    socket: Path


class Launcher:
    """Starts `command` again and again, as attempts."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        hooking: Hooking,
        hands: Hands,
        clock: Clock,
        policy: Policy,
        nvml: Nvml,
        watch: Callable[[Launched], None],
    ) -> None:
        self._command = tuple(command)
        self._environment = dict(environment)
        self._hooking = hooking
        self._hands = hands
        self._clock = clock
        self._policy = policy
        self._nvml = nvml
        self._watch = watch

    def launch(self, request: Launch, user: RunSpec | None) -> ProcessKey:
        """Start an attempt and watch for its end; raises LaunchError with a sentence."""
        command = self._command
        if request.resume is not None and request.edits is not None and user is not None:
            command = _command_of(command, request.edits, request.resume, user)
        environment = self._hooked_environment(request, user)
        launched = self._hands.launch(command, environment, Path.cwd())
        self._watch(launched)
        return launched.process

    def _hooked_environment(self, request: Launch, user: RunSpec | None) -> dict[str, str]:
        environment = dict(self._environment)
        path = environment.get("PYTHONPATH")
        stage = str(self._hooking.stage)
        environment["PYTHONPATH"] = stage if not path else stage + os.pathsep + path
        environment["YOLOWATCH_SOCKET"] = str(self._hooking.socket)
        environment["YOLOWATCH_ATTEMPT"] = str(request.attempt)
        environment.pop("YOLOWATCH_EDITS", None)  # of an outer run, in which this one is started
        environment.pop("YOLOWATCH_EMERGENCY", None)
        if self._policy.mode == "auto" and self._policy.emergency != "never":
            environment["YOLOWATCH_EMERGENCY"] = self._policy.emergency
        if request.edits is not None and request.edits.expandable_segments:
            _expand_segments(environment)
        if request.edits is not None and request.edits.pin_memory is False:
            environment["PIN_MEMORY"] = "false"
        if request.edits is not None and request.resume is not None and user is not None:
            environment["YOLOWATCH_EDITS"] = json.dumps(
                _edits_of(request.edits, request.resume, user)
            )
        return environment

    def wait_for_memory(self, device: str | None, processes: Sequence[ProcessKey]) -> str:
        """Until no process of the failed attempt is on the device; bounded by the policy.

        Returns what was waited for. An unreadable device counts as not yet free.
        """
        if device is None or not device.startswith("cuda"):
            return "nothing to wait for: the memory of a CPU process ends with it"
        if self._nvml.reason is not None:
            return f"not waited, the processes are gone: {self._nvml.reason}"
        pids = {process.pid for process in processes}
        deadline = self._clock.monotonic() + self._policy.memory_wait_seconds
        while True:
            holding = self._holding(pids)
            if holding is not None and not holding:
                return "the device's memory is back"
            if self._clock.monotonic() >= deadline:
                return "went on: the device's memory was not seen to be back in time"
            self._clock.sleep(_POLL_SECONDS)

    def _holding(self, pids: set[int]) -> set[int] | None:
        """Which of these still hold memory on any device; None where that cannot be read."""
        holding: set[int] = set()
        readings = self._nvml.devices()
        if not readings:
            return None
        for reading in readings:
            users = self._nvml.processes(reading.index)
            if users is None:
                return None
            holding |= {user.pid for user in users} & pids
        return holding


def _expand_segments(environment: dict[str, str]) -> None:
    """Say it to the CUDA allocator beside what the user said, under the name that is in use."""
    names = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
    name = next((each for each in names if environment.get(each)), names[-1])
    kept = [
        each
        for each in environment.get(name, "").split(",")
        if each and not each.strip().startswith("expandable_segments")
    ]
    environment[name] = ",".join([*kept, "expandable_segments:True"])


def _command_of(
    command: tuple[str, ...], edits: Edits, resume: ResumePoint, user: RunSpec
) -> tuple[str, ...]:
    """The command of a later attempt; a user's program stays as it is, the hook resumes it."""
    trainer = family(user.trainer)
    if user.entry != "command" or trainer is None or not trainer.is_command(command):
        return command  # a program, or a shell that becomes the trainer: the hook resumes it
    if resume.start is Start.RESUME and resume.checkpoint is not None:
        return trainer.resume_command(command, resume.checkpoint, edits)
    return trainer.fresh_command(command, user.run_dir or "", edits)


def _edits_of(edits: Edits, resume: ResumePoint, user: RunSpec) -> dict[str, object]:
    """What the hook's lever reads; see `hook.levers.edits`."""
    unfinished = resume.unfinished
    return {
        "start": resume.start.value,
        "checkpoint": resume.checkpoint,
        "run_dir": user.run_dir,
        "batch": edits.batch,
        "nbs": edits.nbs,
        "weight_decay": edits.weight_decay,
        "validation_batch": edits.validation_batch,
        "multi_scale": edits.multi_scale,
        "amp": edits.amp,
        "checkpointing": edits.checkpointing,
        "workers": edits.workers,
        "cache": edits.cache,
        "pin_memory": edits.pin_memory,
        "freeze": edits.freeze,
        "image_size": edits.image_size,
        "pruning": edits.pruning,
        "optimizer_bits": edits.optimizer_bits,
        "one_gpu": edits.one_gpu is not None,
        "effective_weight_decay": user.effective_weight_decay,
        "iterations_batch": max(user.batch or 0, user.nbs or 0) or None,
        "finish_epoch": unfinished.epoch if unfinished is not None else None,
        "losses": unfinished.losses if unfinished is not None else (),
        "loss_names": unfinished.loss_names if unfinished is not None else (),
        "rates": unfinished.rates if unfinished is not None else (),
    }
