"""One execution of the supervised command: its process, its hooks and what they said.

The only mutable thing beside the core that owns it; it decides nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from yolowatch.decide import ranks
from yolowatch.model import events
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Edits
from yolowatch.model.run import RunSpec, RunState

_STARTED_BY_ANOTHER = (
    "the training was started by another program, which has seen it fail; start the training "
    "itself under `yolowatch run`"
)


@dataclass
class Attempt:
    """Attempt `number`; 0 is the user's own, whose `edits` are None."""

    number: int
    process: ProcessKey
    started_at: float
    edits: Edits | None = None
    states: dict[int, RunState] = field(default_factory=dict)  # by connection
    processes: dict[int, ProcessKey] = field(default_factory=dict)  # by connection
    parents: dict[int, ProcessKey | None] = field(default_factory=dict)  # by connection
    grandparents: dict[int, int | None] = field(default_factory=dict)  # pids, by connection
    open: set[int] = field(default_factory=set)  # connections that may still speak
    exited: events.ProcessExited | None = None
    asked_to_stop: bool = False
    term_sent_at: float | None = None
    killed: bool = False
    ordered_multi_scale: float | None = None  # the widest range that was ordered meanwhile
    distrusted: str | None = None  # why it is not what the plan said

    def connect(self, event: events.HookConnected) -> None:
        """A hook of this attempt begins to speak."""
        connection = event.connection
        self.states[connection] = RunState(self.number)
        self.processes[connection] = event.process
        self.parents[connection] = event.parent
        self.grandparents[connection] = event.grandparent_pid
        self.open.add(connection)

    def state(self) -> RunState:
        """What the training process said: the one that described a run, else any; or what all
        ranks said, where it is made of ranks.
        """
        group = self.group()
        if group:
            together = ranks.merged(group)
            spec = together.spec
            return together if spec is None else replace(together, spec=self.as_started(spec))
        ranked = sorted(
            self.states.items(),
            key=lambda item: (item[1].spec is not None, self.processes[item[0]] == self.process),
        )
        return ranked[-1][1] if ranked else RunState(self.number)

    def group(self) -> tuple[RunState, ...]:
        """What each rank said, of a training that is made of several or has a launcher of them."""
        return tuple(self.states[connection] for connection in self._ranks())

    def _ranks(self) -> list[int]:
        """The connections of ranks; none for one process that trains alone, whatever it says."""
        told = [number for number, state in self.states.items() if state.rank is not None]
        alone = all(
            self.states[each].ranks == 1 and self.processes[each] == self.process for each in told
        )
        return [] if alone else told

    def as_started(self, spec: RunSpec) -> RunSpec:
        """What a rank says of its training, started as the process that spawned it was started."""
        told = [
            state.spec
            for connection, state in self.states.items()
            if state.rank is None and self.processes[connection] == self.process
        ]
        spawner = told[-1] if told and self._ranks() else None
        if spawner is None:
            return spec
        return replace(spec, entry=spawner.entry, train_calls=spawner.train_calls)

    def living(self) -> tuple[ProcessKey, ...]:
        """The process that was started, those that hold a connection, and a launcher between."""
        connected = (self.processes[connection] for connection in sorted(self.open))
        return tuple(dict.fromkeys((self.process, *self._launchers(), *connected)))

    def asked_to_end(self) -> tuple[ProcessKey, ...]:
        """Those of the living whom the others follow: a trainer that has spawned its ranks sees
        them end, clears away what it had written for them, and ends by itself.
        """
        living = self.living()
        return tuple(p for p in living if p != self.process) if self._launchers() else living

    def everyone(self) -> tuple[ProcessKey, ...]:
        """All of its processes that are known."""
        return tuple(dict.fromkeys((self.process, *self._launchers(), *self.processes.values())))

    def _launchers(self) -> list[ProcessKey]:
        """Of ranks that the trainer has spawned itself: a process without a connection."""
        found = (self.parents[each] for each in self._ranks() if self._spawned(each))
        return [launcher for launcher in found if launcher is not None]

    def _spawned(self, connection: int) -> bool:
        """Whether this rank was started by a launcher that the training process has started."""
        return self.grandparents[connection] == self.process.pid and self.trains_directly()

    def obstacle(self) -> str | None:
        """Why starting the command again would not start this training again, or None."""
        told = self._ranks()
        if not told:
            return None if self.trains_directly() else _STARTED_BY_ANOTHER
        for connection in told:
            rank = self.states[connection].rank
            assert rank is not None, "it is one of the ranks"
            if self.processes[connection] == self.process:
                return (
                    f"the training is one of {rank.ranks} ranks, and the others would not be "
                    "restarted; start their launcher under `yolowatch run`"
                )
            if self.parents[connection] != self.process and not self._spawned(connection):
                return _STARTED_BY_ANOTHER
            unfit = ranks.unfit(rank)
            if unfit is not None:
                return unfit
        return None

    def trains_directly(self) -> bool:
        """Whether the process that trains is the one that was started, and not a child of it."""
        return any(
            state.spec is not None and self.processes[connection] == self.process
            for connection, state in self.states.items()
        )

    def expected(self) -> Edits:
        """What its trainer should say of itself: the edits, and what has changed since."""
        edits = self.edits or Edits()
        if self.state().retries:
            # After the trainer's own retry the batch is smaller still, as it should be.
            edits = replace(edits, batch=None)
        if edits.multi_scale is not None and self.ordered_multi_scale is not None:
            widest = max(edits.multi_scale, self.ordered_multi_scale)
            edits = replace(edits, multi_scale=widest)
        return edits

    @property
    def ended_at(self) -> float:
        """When its process ended, in seconds of the daemon's clock."""
        assert self.exited is not None, "it has ended"
        return self.exited.at

    def exit_status(self) -> int:
        """What a shell would report: the status, or 128 plus the signal that ended it."""
        assert self.exited is not None, "it has ended"
        if self.exited.status is not None:
            return self.exited.status
        return 128 + (self.exited.signal or 0)

    def completed_epoch(self) -> int:
        """The last epoch of which the trainer completed training and validation; -1 for none."""
        state = self.state()
        told = [
            state.last_epoch_ended,
            state.checkpoint.epoch if state.checkpoint is not None else None,
            state.emergency.epoch if state.emergency is not None else None,
        ]
        return max((epoch for epoch in told if epoch is not None), default=-1)

    def saved(self) -> bool:
        """Whether a checkpoint of the run exists: of its own, or the one that it resumed from."""
        return any(
            state.checkpoint is not None or (state.spec is not None and bool(state.spec.resumed))
            for state in self.states.values()
        )


def mismatch(edits: Edits, user: RunSpec, spec: RunSpec, ranks: int = 1) -> str | None:
    """Why a new attempt, of which `ranks` share each batch, is not what the plan said, or None;
    unknown values are no reason.
    """
    if edits.one_gpu is not None and ranks > 1:
        return f"it is still made of {ranks} ranks"
    if edits.batch is not None and spec.batch is not None and spec.batch != edits.batch:
        return f"its batch is {spec.batch} instead of {edits.batch}"
    if spec.effective_batch is not None and spec.effective_batch != user.effective_batch:
        return f"its effective batch is {spec.effective_batch} instead of {user.effective_batch}"
    was, is_now = user.effective_weight_decay, spec.effective_weight_decay
    if was is not None and is_now is not None and not math.isclose(was, is_now, rel_tol=1e-9):
        return f"its effective weight decay is {is_now:.6g} instead of {was:.6g}"
    if spec.run_dir is not None and spec.run_dir != user.run_dir:
        return f"it writes to {spec.run_dir} instead of {user.run_dir}"
    return _not_in_force(edits, spec)


def _not_in_force(edits: Edits, spec: RunSpec) -> str | None:
    """Which of the levers beside the batch the trainer has not taken, or None."""
    wanted, given = edits.validation_batch, spec.validation_batch
    if wanted is not None and given is not None and given > wanted:
        return f"its validation batch is {given} instead of {wanted}"
    if (spec.multi_scale or 0.0) > (1.0 if edits.multi_scale is None else edits.multi_scale + 1e-6):
        return f"its sizes differ by {spec.multi_scale} instead of {edits.multi_scale}"
    if edits.amp is not None and spec.precision not in (None, edits.amp):
        return f"its precision is {spec.precision} instead of {edits.amp}"
    if edits.checkpointing and spec.checkpointed == 0:
        return "no activations of it are checkpointed"
    if edits.expandable_segments and "expandable_segments:True" not in (spec.allocator or ""):
        return "its allocator has no expandable segments"
    return _host_memory_not_in_force(edits, spec) or _opt_in_not_in_force(edits, spec)


def _host_memory_not_in_force(edits: Edits, spec: RunSpec) -> str | None:
    if edits.workers is not None and spec.workers is not None and spec.workers > edits.workers:
        return f"it has {spec.workers} workers instead of {edits.workers}"
    if edits.cache is not None and spec.cache not in (None, edits.cache):
        return f"its cache is {spec.cache} instead of {edits.cache}"
    if edits.pin_memory is False and spec.pin_memory:
        return "its batches are in pinned memory"
    return None


def _opt_in_not_in_force(edits: Edits, spec: RunSpec) -> str | None:
    """The same for the levers that the policy file must name."""
    if edits.freeze is not None and spec.frozen is not None and spec.frozen < edits.freeze:
        return f"its first {spec.frozen} layers are frozen instead of {edits.freeze}"
    if edits.image_size is not None and spec.image_size not in (None, edits.image_size):
        return f"its image size is {spec.image_size} instead of {edits.image_size}"
    if edits.pruning and spec.pruned == 0.0:
        return "its model is not pruned"
    if edits.optimizer_bits == 8 and spec.optimizer and not spec.optimizer.endswith("8bit"):
        return f"its optimizer is {spec.optimizer}, with a state in 32 bits"
    return None
