"""Makes the command and the environment of an attempt, and waits until memory is back.

What starts them is a callable: `as_child` for `yolowatch run`, `as_captured` for what is adopted.

The environment of the training is the user's own plus what the hook needs. It stays in memory only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolowatch.edges.clock import Clock
from yolowatch.edges.markers import read_marker
from yolowatch.edges.nvml import Nvml
from yolowatch.edges.vault import NAME as VAULT
from yolowatch.hands.detached import start_detached
from yolowatch.hands.memory import wait_step
from yolowatch.hands.port import Hands, Launched
from yolowatch.model.actions import Launch, Remediation
from yolowatch.model.captured import Captured
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import GUARDED_BATCHES, Edits, Policy, Start
from yolowatch.model.receipt import ResumePoint
from yolowatch.model.run import RunSpec
from yolowatch.trainers.families import family


@dataclass(frozen=True)
class Hooking:
    """Where the staged hook lies and where it is to speak to."""

    stage: Path
    socket: Path


StartCommand = Callable[[Sequence[str], Mapping[str, str], Launch, RunSpec | None], ProcessKey]
"""Starts a command with an environment, for an attempt; raises LaunchError."""


def as_child(hands: Hands, watch: Callable[[Launched], None]) -> StartCommand:
    """Attempts are children of this process, in its directory and on its terminal."""

    def start(
        command: Sequence[str], environment: Mapping[str, str], _of: Launch, _user: RunSpec | None
    ) -> ProcessKey:
        launched = hands.launch(command, environment, Path.cwd())
        watch(launched)
        return launched.process

    return start


def as_captured(
    captured: Captured,
    run: str,
    clock: Clock,
    claim: Callable[[Path], None],
    begin: Callable[..., ProcessKey] = start_detached,
) -> StartCommand:
    """Attempts are detached processes that get what the captured one had got.

    `claim` raises where the run directory is not ours just before a start. An attempt that was
    executed by a daemon that did not live to tell is not executed again. `begin` is called as
    `start_detached`.
    """

    def start(
        command: Sequence[str], environment: Mapping[str, str], of: Launch, user: RunSpec | None
    ) -> ProcessKey:
        run_dir = Path((user.run_dir if user is not None else None) or captured.cwd)
        marker = run_dir / VAULT / f"{run}-attempt{of.attempt}.started"
        started = read_marker(marker)
        if started is not None:
            return started
        claim(run_dir)
        return begin(
            captured,
            command,
            environment,
            unit=f"yolowatch-{run}-{of.attempt}.scope",
            fallback_log=run_dir / VAULT / f"attempt-{of.attempt}.log",
            marker=marker,
            clock=clock,
        )

    return start


class Launcher:
    """Starts `command` again and again, as attempts."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        hooking: Hooking,
        start: StartCommand,
        clock: Clock,
        policy: Policy,
        nvml: Nvml,
    ) -> None:
        self._command = tuple(command)
        self._environment = dict(environment)
        self._hooking = hooking
        self._start = start
        self._clock = clock
        self._policy = policy
        self._nvml = nvml

    def launch(self, request: Launch, user: RunSpec | None) -> ProcessKey:
        """Start an attempt; raises LaunchError with a sentence."""
        command = self._command
        if request.resume is not None and request.edits is not None and user is not None:
            command = _command_of(command, request.edits, request.resume, user)
        return self._start(command, self._hooked_environment(request, user), request, user)

    def _hooked_environment(self, request: Launch, user: RunSpec | None) -> dict[str, str]:
        environment = dict(self._environment)
        stage = str(self._hooking.stage)
        places = environment.get("PYTHONPATH", "").split(os.pathsep)
        # An adopted process may be an earlier attempt that has the hook already.
        others = [each for each in places if each != stage] if any(places) else []
        environment["PYTHONPATH"] = os.pathsep.join([stage, *others])
        environment["YOLOWATCH_SOCKET"] = str(self._hooking.socket)
        environment["YOLOWATCH_ATTEMPT"] = str(request.attempt)
        environment.pop("YOLOWATCH_EDITS", None)  # of an outer run, in which this one is started
        environment.pop("YOLOWATCH_EMERGENCY", None)
        if self._policy.mode == "auto" and self._policy.emergency != "never":
            environment["YOLOWATCH_EMERGENCY"] = self._policy.emergency
        for name in ("YOLOWATCH_RESCUE", "YOLOWATCH_GUARD"):
            environment.pop(name, None)
        if self._policy.mode == "auto" and self._policy.rescue:
            environment["YOLOWATCH_RESCUE"] = "1"
        elif self._policy.mode == "auto" and "validation batch" in self._policy.levers:
            # The training is over by then: there is no epoch from which it could be resumed.
            environment["YOLOWATCH_RESCUE"] = "final"
        if self._policy.mode == "auto" and self._policy.guarded_start and request.edits is None:
            environment["YOLOWATCH_GUARD"] = str(GUARDED_BATCHES)
        if request.edits is not None and request.edits.expandable_segments:
            _expand_segments(environment)
        if request.edits is not None and request.edits.pin_memory is False:
            environment["PIN_MEMORY"] = "false"
        if request.edits is not None and request.resume is not None and user is not None:
            environment["YOLOWATCH_EDITS"] = json.dumps(
                _edits_of(request.edits, request.resume, user)
            )
        return environment

    def wait_for_memory(self, order: Remediation) -> tuple[str, dict[str, object]]:
        """See `hands.memory`; bounded by the policy and the plan."""
        return wait_step(order, self._nvml, self._clock, self._policy.memory_wait_seconds)


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
        "more_gpus": edits.more_gpus,
        "effective_weight_decay": user.effective_weight_decay,
        "iterations_batch": max(user.batch or 0, user.nbs or 0) or None,
        "finish_epoch": unfinished.epoch if unfinished is not None else None,
        "losses": unfinished.losses if unfinished is not None else (),
        "loss_names": unfinished.loss_names if unfinished is not None else (),
        "rates": unfinished.rates if unfinished is not None else (),
    }
