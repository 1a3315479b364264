"""The sole owner of all runs of a service: events in, actions out, each to and from its run.

A training that a hook tells of is adopted: its origin is asked for, a core is made for it, and from
then on that core decides. Before any action of a core is handed on, what the core knows is written
down, so that a successor of a killed daemon makes the same request again. Like a core, the fleet
asks no clock and touches no process.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from yolowatch.daemon.core import Core
from yolowatch.daemon.member import Do, Member
from yolowatch.daemon.memento import Memento, RunMemento
from yolowatch.daemon.newcomers import Newcomer, Newcomers
from yolowatch.daemon.records import Records
from yolowatch.daemon.ruling import rule_of
from yolowatch.decide.rules import Rule
from yolowatch.edges.journal import Journal
from yolowatch.errors import StateError
from yolowatch.model import events
from yolowatch.model.actions import (
    Action,
    Adopt,
    Attach,
    CountBoxes,
    Finish,
    Forget,
    RunStep,
    Say,
    VaultCheckpoint,
    Watch,
)
from yolowatch.model.adoption import Adoption
from yolowatch.model.attach import Rung
from yolowatch.model.identity import ProcessKey
from yolowatch.model.service import ServiceConfig

_CHECKPOINTS = 8  # paths of a run whose copies are on their way
_ENDED = 64  # runs that are over and still shown
_QUIET = ("sample", "footprints", "hello", "ack", "fault")  # messages that change no decision


class Fleet:
    """All runs of one service."""

    def __init__(
        self,
        journal: Journal,
        config: ServiceConfig,
        supervisor: ProcessKey | None,
        new_id: Callable[[], str],
        own_uid: int,
    ) -> None:
        self._journal = journal
        self._supervisor = supervisor
        self._new_id = new_id
        self.own_uid = own_uid
        self.config = config
        self.members: dict[str, Member] = {}
        self._newcomers = Newcomers()
        self._adopting: dict[str, ProcessKey] = {}  # the rank or process that was asked about
        self._by_connection: dict[int, str] = {}
        self._by_plan: dict[str, str] = {}
        self._by_checkpoint: dict[str, str] = {}
        self.pause_of: Callable[[str], str | None] = lambda _run: None  # why a run is paused

    def step(self, event: events.Event) -> list[Do]:
        """Fold one event; what is to be done about it, in order."""
        match event:
            case events.HookConnected():
                return self._connected(event)
            case events.HookMessage() | events.HookGone():
                return self._heard(event)
            case events.Adopted():
                return self._adopted(event)
            case events.ProcessExited():
                return self._each(event, lambda core: core.process == event.process)
            case events.StepDone() | events.StepFailed():
                return self._step_ended(event)
            case events.BoxesCounted():
                return self._to(event.run, event)
            case events.CheckpointVaulted() | events.CheckpointRefused():
                return self._to(self._by_checkpoint.get(event.path), event)
            case events.TrainingSeen():
                return self._seen(event)
            case events.AttachEnded():
                return [Do(None, Say(event.sentence))]
            case events.Tick() | events.DevicesSeen() | events.HostSeen():
                return self._each(event, lambda core: not core.over)
        return []

    def restore(self, run: str, memento: RunMemento) -> list[Do]:
        """Go on with a run of a daemon before this one."""
        records = Records(self._journal, run, _ignore)
        try:
            return self._go_on(run, memento, records)
        except Exception:  # what one run left behind must not end each daemon after it
            return self._set_aside(run, records, traceback.format_exc())

    def _go_on(self, run: str, memento: RunMemento, records: Records) -> list[Do]:
        run_dir = memento.core.user.run_dir if memento.core.user is not None else None
        rule = rule_of(self.config, self.own_uid, memento.adoption, run_dir, memento.reason)
        member = self._member(run, memento.adoption, rule, records, memento.reason)
        done = self.perform(member, member.core.restore(memento.core))
        if member.core.over:
            return [*done, *self.perform(member, [Finish(0)])]
        return [Do(run, Watch(memento.core.attempt.process)), *done]

    # -- newcomers ------------------------------------------------------------------------------

    def _connected(self, event: events.HookConnected) -> list[Do]:
        for member in self.members.values():
            if member.core.owns(event) and not member.core.over:
                self._by_connection[event.connection] = member.run
                return self._deliver(member, event)
        if self.config.attach.permits(Rung.PRESENT):
            self._newcomers.add(event)
        return []

    def _heard(self, event: events.HookMessage | events.HookGone) -> list[Do]:
        run = self._by_connection.get(event.connection)
        if isinstance(event, events.HookGone):
            self._by_connection.pop(event.connection, None)
        if run is not None:
            return self._to(run, event)
        newcomer = self._newcomers.hear(event)
        if newcomer is None or not newcomer.described or newcomer.asked:
            return []
        return self._ask(newcomer)

    def _ask(self, newcomer: Newcomer) -> list[Do]:
        """Have a training adopted that has told what it is, unless it is a run's next attempt."""
        done: list[Do] = []
        for member in self._of_directory(newcomer.run_dir):
            if member.core.healing.starting:
                return []  # it may be the attempt that is being started: soon it is known
            done += self._taken_over(member, newcomer.connected.process)
        process = newcomer.connected.process
        launcher = newcomer.connected.parent if newcomer.rank else None
        for each in self._newcomers.of(process, launcher):
            each.asked = True
        run = self._new_id()
        self._adopting[run] = process
        return [*done, Do(run, Adopt(run, process, newcomer.run_dir, launcher))]

    def _seen(self, event: events.TrainingSeen) -> list[Do]:
        """A training without a hook: it is brought one, as far as the configuration goes."""
        known = any(each.core.process == event.process for each in self.members.values())
        if known or self._newcomers.of(event.process):
            return []
        if not self.config.attach.permits(Rung.PENDING_CALL):
            said = f"process {event.process.pid} looks like {event.sight} and is left alone"
            return [Do(None, Say(f"{said} (attach: {self.config.attach.value})"))]
        return [Do(None, Attach(event.process, self.config.attach))]

    def _of_directory(self, run_dir: str | None) -> list[Member]:
        """Runs in this directory that are not over."""
        return [
            each
            for each in self.members.values()
            if run_dir is not None
            and not each.core.over
            and each.core.user is not None
            and each.core.user.run_dir == run_dir
        ]

    def _taken_over(self, member: Member, by: ProcessKey) -> list[Do]:
        """Somebody else trains in this run's directory now: what waits to be done is given up."""
        reason = f"process {by.pid}, which somebody else has started, trains in its directory"
        return self.perform(member, member.core.healing.stand_down(reason))

    # -- adoption -------------------------------------------------------------------------------

    def _adopted(self, event: events.Adopted) -> list[Do]:
        process = self._adopting.pop(event.run, event.process)
        waiting = self._newcomers.of(process)
        run_dir = waiting[0].run_dir if waiting else None
        adoption = event.adoption or Adoption(event.process, -1, (), "")
        rule = rule_of(self.config, self.own_uid, adoption, run_dir, event.reason)
        begun = (adoption.argv, adoption.cwd, rule.mode, self._supervisor, _ignore, event.run)
        try:
            records = Records.begin(self._journal, *begun)
        except StateError as error:
            return [Do(None, Say(f"process {event.process.pid} is not watched: {error}"))]
        member = self._member(event.run, adoption, rule, records, event.reason)
        said = f"adopted process {adoption.process.pid} ({rule.mode}: {rule.reason})"
        done = [Do(event.run, Watch(adoption.process)), *self.perform(member, [Say(said)])]
        done += self._deliver(member, events.Started(0, adoption.process, event.at))
        return [*done, *self._join(member)]

    def _member(
        self,
        run: str,
        adoption: Adoption,
        rule: Rule,
        records: Records,
        reason: str | None,
    ) -> Member:
        records.owner = adoption.uid
        core = Core(records, rule.policy, adopted=True)
        core.healing.paused = self.pause_of(run)
        self.members[run] = Member(run, adoption, rule, records, core, reason)
        self._drop_ended()
        return self.members[run]

    def _join(self, member: Member) -> list[Do]:
        """Deliver what the newcomers that belong to this run have said so far."""
        done: list[Do] = []
        for event in self._newcomers.take(member.core.owns):
            if isinstance(event, events.HookConnected):
                self._by_connection[event.connection] = member.run
            done += self._deliver(member, event)
        return done

    # -- what happens to a run --------------------------------------------------------------------

    def _step_ended(self, event: events.StepDone | events.StepFailed) -> list[Do]:
        member = self.members.get(self._by_plan.get(event.plan, ""))
        if member is None:
            return []
        starting = member.core.healing.starting
        done = self._deliver(member, event)
        if starting and isinstance(event, events.StepDone):
            done += [Do(member.run, Watch(event.result["process"])), *self._join(member)]
        return done

    def _to(self, run: str | None, event: events.Event) -> list[Do]:
        found = self.members.get(run or "")
        return [] if found is None else self._deliver(found, event)

    def _each(self, event: events.Event, wanted: Callable[[Core], bool]) -> list[Do]:
        done: list[Do] = []
        for member in tuple(self.members.values()):
            if wanted(member.core):
                done += self._deliver(member, event)
        return done

    def _deliver(self, member: Member, event: events.Event) -> list[Do]:
        try:
            actions = member.core.step(event)
        except Exception:  # a mistake about one run must not end the watch over the others
            return self._set_aside(member.run, member.records, traceback.format_exc())
        told = isinstance(event, events.HookMessage) and event.kind in _QUIET
        quiet = told or isinstance(event, events.Tick | events.DevicesSeen | events.HostSeen)
        return self.perform(member, actions) if actions or not quiet else []

    def _set_aside(self, run: str, records: Records, trace: str) -> list[Do]:
        """Nothing is concluded any more of a run that could not be followed: it trains on alone."""
        reason = "an internal error of yolowatch"
        records.finished(None, f"abandoned: {reason}")
        records.forget()
        self._drop(run)
        said = Say(f"it trains on without being watched: {reason}, please report it: {trace}")
        return [Do(run, said), Do(run, Forget())]

    def perform(self, member: Member, actions: list[Action]) -> list[Do]:
        """Write down what the run has become, and only then hand its actions on."""
        memento: Memento | None = member.core.remember()
        if memento is not None and not member.core.over:
            member.records.remember(RunMemento(member.adoption, memento, member.reason))
        done: list[Do] = []
        for action in actions:
            if isinstance(action, RunStep):
                self._by_plan[action.remediation.plan_id] = member.run
            elif isinstance(action, VaultCheckpoint):
                if member.rule.mode == "observe":
                    continue  # not even a copy is made of what is only observed
                self._by_checkpoint.pop(action.path, None)
                self._by_checkpoint[action.path] = member.run
                mine = [path for path, run in self._by_checkpoint.items() if run == member.run]
                for path in mine[:-_CHECKPOINTS]:
                    del self._by_checkpoint[path]
            elif isinstance(action, CountBoxes) and member.adoption.uid != self.own_uid:
                continue  # what is another user's, only a process of that user's may look at
            elif isinstance(action, Say):
                member.sentence = action.sentence
            done.append(Do(member.run, action))
            if isinstance(action, Finish):
                member.records.finished(None, member.core.summary())
                member.records.forget()
                done.append(Do(member.run, Forget()))
        return done

    def _drop_ended(self) -> None:
        ended = [run for run, member in self.members.items() if member.core.over]
        for run in ended[:-_ENDED]:
            self._drop(run)

    def _drop(self, run: str) -> None:
        self.members.pop(run, None)
        for index in (self._by_plan, self._by_checkpoint):
            for key in [key for key, value in index.items() if value == run]:
                del index[key]


def _ignore(_sentence: str) -> None:
    """What the journal cannot take is seen in the run's own refusals."""
