"""One execution of the supervised command: its process, its hooks and what they said.

The only mutable thing beside the core that owns it; it decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from yolowatch.daemon.memento import AttemptMemento, Told
from yolowatch.decide import detect, ranks
from yolowatch.decide.prevent import foreseen
from yolowatch.model import events
from yolowatch.model.actions import VaultCheckpoint
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Edits
from yolowatch.model.run import RunSpec, RunState
from yolowatch.model.surroundings import Around
from yolowatch.model.thresholds import Thresholds
from yolowatch.model.verdict import Verdict

MOST_CONNECTIONS = 64  # whose words are kept; a training has one, or one for each rank
_SAMPLES = 60  # of a process, that a successor gets

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
        """A hook of this attempt begins to speak, or goes on after its connection was lost."""
        connection, said = event.connection, self._said_before(event.process)
        if len(self.states) >= MOST_CONNECTIONS and not self._forget_one():
            return  # a flood: what it says is not listened to
        self._keep(connection, said, event.process, event.parent, event.grandparent_pid)
        self.open.add(connection)

    def _forget_one(self) -> bool:
        """Make room by the oldest closed connection of a process that was not started here."""
        for each, process in self.processes.items():
            if each not in self.open and process != self.process:
                self._drop(each)
                return True
        return False

    def _keep(
        self,
        connection: int,
        state: RunState,
        process: ProcessKey,
        parent: ProcessKey | None,
        grandparent_pid: int | None,
    ) -> None:
        self.states[connection] = state
        self.processes[connection] = process
        self.parents[connection] = parent
        self.grandparents[connection] = grandparent_pid

    def _drop(self, connection: int) -> RunState:
        del self.processes[connection], self.parents[connection], self.grandparents[connection]
        return self.states.pop(connection)

    def _said_before(self, process: ProcessKey) -> RunState:
        """What this process said through an earlier connection, which is forgotten."""
        for earlier, known in list(self.processes.items()):
            if known == process and earlier not in self.open:
                return self._drop(earlier)
        return RunState(self.number)

    def owns(self, event: events.HookConnected) -> bool:
        """Whether this process is of the attempt, by what is known or by who started it."""
        known = event.process in (self.process, *self.processes.values())
        started = event.parent == self.process or event.grandparent_pid == self.process.pid
        return known or (self.exited is None and started)

    def remember(self) -> AttemptMemento:
        """What a successor of this daemon needs to know of it."""
        return AttemptMemento(
            self.number,
            self.process,
            self.started_at,
            self.edits,
            tuple(
                Told(
                    _shortened(state),
                    self.processes[each],
                    self.parents[each],
                    self.grandparents[each],
                )
                for each, state in self.states.items()
            ),
            self.exited,
            self.asked_to_stop,
            self.term_sent_at,
            self.ordered_multi_scale,
            self.distrusted,
        )

    @classmethod
    def restored(cls, memento: AttemptMemento) -> Attempt:
        """The attempt as it was; its hooks have yet to connect again."""
        attempt = cls(memento.number, memento.process, memento.started_at, memento.edits)
        for number, told in enumerate(memento.told, 1):
            # Numbers that no connection of a listener has.
            attempt._keep(-number, told.state, told.process, told.parent, told.grandparent_pid)
        attempt.exited = memento.exited
        attempt.asked_to_stop = memento.asked_to_stop
        attempt.term_sent_at = memento.term_sent_at
        attempt.ordered_multi_scale = memento.ordered_multi_scale
        attempt.distrusted = memento.distrusted
        return attempt

    def checkpoint_to_copy(self, state: RunState) -> VaultCheckpoint | None:
        """The checkpoint that was saved last, if it lies in the directory of the run."""
        saved, run_dir = state.checkpoint, state.spec.run_dir if state.spec is not None else None
        if saved is None or run_dir is None or not saved.path.startswith(run_dir + "/"):
            return None
        return VaultCheckpoint(saved.path, run_dir, self.number, saved.epoch)

    def verdict(self, around: Around, thresholds: Thresholds) -> Verdict:
        """Why it has ended, with what was around it."""
        assert self.exited is not None, "it has ended"
        state = self.state()
        if state.left is not None and state.last_words is None and self.exited.signal is None:
            return foreseen(state)
        helped = self.term_sent_at is not None and self.distrusted is None
        if helped and state.ranks > 1 and state.last_words is not None:
            # However the program took it: without this rank the others could not go on.
            state = replace(state, last_words=replace(state.last_words, handled=False))
        return detect.classify(
            state,
            exit_status=1 if helped else self.exited.status,
            exit_signal=None if helped else self.exited.signal,
            asked_to_stop=self.asked_to_stop,
            around=around,
            thresholds=thresholds,
        )

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

    def last_epoch(self) -> int | None:
        """The same; None for none."""
        epoch = self.completed_epoch()
        return None if epoch < 0 else epoch

    def saved(self) -> bool:
        """Whether a checkpoint of the run exists: of its own, or the one that it resumed from."""
        return any(
            state.checkpoint is not None or (state.spec is not None and bool(state.spec.resumed))
            for state in self.states.values()
        )


def _shortened(state: RunState) -> RunState:
    return replace(state, samples=state.samples[-_SAMPLES:])
