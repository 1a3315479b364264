"""The sole owner of a run's state: events in, actions out, every decision journaled first.

`step` is the whole interface: it folds one event and returns what is to be done. It asks no clock
(events carry their time), starts no thread and touches neither a process nor a file of the user's.
It writes to the journal alone, because an intent must be on disk before anyone else hears of it.
When that fails, nothing is changed any more: the run is watched and its exit status passed on.
"""

from __future__ import annotations

import signal
from dataclasses import replace

from yolowatch.daemon import ending, remembering, sentences
from yolowatch.daemon.attempt import Attempt
from yolowatch.daemon.foreseeing import Foreseeing
from yolowatch.daemon.healing import Healing
from yolowatch.daemon.memento import Memento
from yolowatch.daemon.mismatch import unplanned
from yolowatch.daemon.ordering import Ordering
from yolowatch.daemon.records import Records
from yolowatch.daemon.sights import Sights
from yolowatch.daemon.watching import Watching
from yolowatch.model import events
from yolowatch.model.actions import Action, Finish, Say, Signal
from yolowatch.model.fold import fold
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Policy
from yolowatch.model.run import RunSpec, RunState
from yolowatch.model.verdict import Kind, Verdict

_OF_A_PROCESS = (events.HookConnected, events.HookMessage, events.HookGone, events.ProcessExited)
_MOST_EARLY, _COPIES = 4096, 8  # events kept in a remediation; copies whose names are remembered
_DRAIN_SECONDS = 2.0  # how long the last messages of a dead process may take to arrive


class Core:
    """Supervises one run; an adopted one was started by somebody else."""

    def __init__(self, records: Records, policy: Policy, *, adopted: bool = False) -> None:
        self._records = records
        self._attempts: list[Attempt] = []
        self._early: list[events.Event] = []
        self._finished = False
        self.user: RunSpec | None = None
        self.sights = Sights(records.run)
        self.healing = Healing(records, policy, adopted=adopted)
        self.foreseeing = Foreseeing(records, self.healing)
        self.ordering = Ordering(records, self.healing, self.foreseeing)
        self._watching = Watching(records, self.healing, self.sights, self.foreseeing)
        self.verdicts: list[Verdict] = []
        self.vaulted = 0  # others may read these between two steps

    def remember(self) -> Memento | None:
        """What a successor of this daemon needs to know; None before the first attempt."""
        if not self._attempts:
            return None
        attempt, healing = self._attempts[-1].remember(), remembering.remember(self.healing)
        ended = (tuple(self.verdicts), self.healing.copies, self.vaulted)
        return Memento(self.user, attempt, healing, *ended)

    def restore(self, memento: Memento) -> list[Action]:
        """Become what another daemon's core was; what it was doing is asked for again."""
        self.user = memento.user
        self._attempts = [Attempt.restored(memento.attempt)]
        remembering.restore(self.healing, memento.healing)
        self.healing.copies = memento.copies
        self.verdicts, self.vaulted = list(memento.verdicts), memento.vaulted
        return self.healing.go_on()

    def owns(self, event: events.HookConnected) -> bool:
        """Whether this process belongs to the attempt that runs, or ran last."""
        return bool(self._attempts) and self._attempts[-1].owns(event)

    @property
    def over(self) -> bool:
        """Whether the run has ended and nothing is to be done about it any more."""
        return self._finished or (self._judged and not self.healing.pending)

    @property
    def _judged(self) -> bool:
        """Whether the last attempt has ended and has its verdict: each attempt gets one."""
        return len(self.verdicts) >= self.attempts > 0

    @property
    def attempt(self) -> Attempt | None:
        """The current attempt, dead or alive; to be read only."""
        return self._attempts[-1] if self._attempts else None

    @property
    def process(self) -> ProcessKey | None:
        """That of the current attempt, dead or alive."""
        return self._attempts[-1].process if self._attempts else None

    def summary(self) -> str:
        """How the run ended, in one word or two."""
        return sentences.summary(self.verdicts, self.healing.receipts)

    def step(self, event: events.Event) -> list[Action]:
        """Fold one event; what is to be done about it, in order."""
        if self._finished:
            return []
        actions = self._dispatch(event)
        self._finished = any(isinstance(action, Finish) for action in actions)
        return actions

    @property
    def attempts(self) -> int:
        """How many attempts were started."""
        return self._attempts[-1].number + 1 if self._attempts else 0

    @property
    def alive(self) -> bool:
        """Whether a process of the run is known to live."""
        return bool(self._attempts) and self._attempts[-1].exited is None

    @property
    def hook_connected(self) -> bool:
        """Whether a hook of the current attempt holds a connection."""
        return bool(self._attempts) and bool(self._attempts[-1].open)

    def state(self) -> RunState:
        """What the hook of the current attempt said."""
        return self._attempts[-1].state() if self._attempts else RunState(0)

    def _dispatch(self, event: events.Event) -> list[Action]:
        if isinstance(event, events.Started):
            self._started(event)
            return []
        if self.sights.take(event) or self.foreseeing.take(event) or not self._attempts:
            return []
        attempt = self._attempts[-1]
        if self.healing.under_way and isinstance(event, _OF_A_PROCESS):
            # The new process may be heard of before the step that started it is reported done.
            if len(self._early) < _MOST_EARLY or isinstance(event, events.ProcessExited):
                self._early.append(event)
            return []
        match event:
            case events.HookConnected():
                attempt.connect(event)
            case events.HookMessage():
                return self._message(attempt, event)
            case events.HookGone():
                return self._gone(attempt, event)
            case events.ProcessExited():
                return self._exited(attempt, event)
            case events.SignalReceived():
                return self._signalled(attempt, event)
            case events.StepDone():
                return self._step_done(event)
            case events.StepFailed():
                return self.healing.step_failed(event)
            case events.CheckpointVaulted():
                self.vaulted += 1
                self.healing.copies = (*self.healing.copies, event.copy)[-_COPIES:]
                self._records.checkpoint(event)
            case events.CheckpointRefused():
                return [Say(f"a checkpoint was not copied to the vault: {event.reason}")]
            case events.Tick():
                return self._tick(attempt, event.at)
        return []

    def _started(self, event: events.Started) -> None:
        self._attempts.append(Attempt(event.attempt, event.process, event.at, event.edits))
        self._records.attempt(event)

    # -- while an attempt lives -----------------------------------------------------------------

    def _message(self, attempt: Attempt, event: events.HookMessage) -> list[Action]:
        if event.connection not in attempt.states:
            return []
        actions = self._told(attempt, event)
        return actions + self.ordering.heard(attempt, event, self.user)

    def _told(self, attempt: Attempt, event: events.HookMessage) -> list[Action]:
        before = attempt.states[event.connection]
        after = fold(before, event.kind, event.fields, event.at, event.count)
        attempt.states[event.connection] = after
        if event.kind == "run" and after.spec is not None:
            return self._described(attempt, after, after.spec, event.at)
        if event.kind == "sample" and attempt.number > 0 and after.place.step:
            self.healing.trained_again(event.at - attempt.started_at)
        if event.kind == "checkpoint" and after.checkpoint is not before.checkpoint:
            copy = attempt.checkpoint_to_copy(after)
            return [] if copy is None else [copy]
        met = sentences.met(event.kind, before, after)
        return [] if met is None else [Say(met)]

    def _described(
        self, attempt: Attempt, state: RunState, spec: RunSpec, at: float
    ) -> list[Action]:
        spec = attempt.as_started(spec)
        first = state.rank is None or state.rank.number == 0
        if not first:
            # The first rank says what the run is; a directory of its own another may have made.
            spec = replace(spec, run_dir=None)
        else:
            self._records.described(spec)
        if spec.effective_batch is None:
            return []  # not set up yet
        # The first complete description is the user's: a later one of the same directory follows
        # the trainer's own retry.
        same = self.user is not None and (attempt.number or self.user.run_dir == spec.run_dir)
        if first and not same:
            self.user = spec
        found = unplanned(attempt, self.user, spec, state.ranks)
        if found is None:
            return []
        attempt.distrusted = found
        return ending.ask(attempt, f"attempt {attempt.number} is not what was planned: {found}", at)

    def _signalled(self, attempt: Attempt, event: events.SignalReceived) -> list[Action]:
        if attempt.exited is None:
            attempt.asked_to_stop = True
            return [Signal(attempt.process, event.number)] if event.forward else []
        if self.healing.starting:  # the new process may exist: it gets it once it is known
            self._early.append(replace(event, forward=True))
        elif self.healing.under_way:
            return self.healing.interrupt(event.number)
        elif attempt.exit_status() != 0:
            attempt.asked_to_stop = True  # its last messages are still awaited
        return []

    def _step_done(self, event: events.StepDone) -> list[Action]:
        actions, receipt = self.healing.step_done(event)
        if receipt is None:
            return actions
        plan, process = receipt.plan, event.result["process"]
        self._started(events.Started(plan.attempt, process, event.at, plan.edits))
        early, self._early = self._early, []
        for each in early:
            if any(isinstance(action, Finish) for action in actions):
                break
            actions += self._dispatch(each)
        return actions

    def _tick(self, attempt: Attempt, at: float) -> list[Action]:
        if attempt.exited is None:
            helped = ending.help_to_exit(attempt, self.healing.acting_policy, at)
            said = self.foreseeing.look(attempt, at) + self._watching.look(attempt, at)
            return self.ordering.tick(at) + helped + said
        # Another daemon may have heard of the end before a reboot set the clock back.
        late = not 0 <= at - attempt.exited.at <= _DRAIN_SECONDS
        if not self._judged and late and not self.healing.under_way:
            # A grandchild holds the socket, or a killed daemon had heard of the end already.
            attempt.open.clear()
            return self._conclude(attempt, attempt.exited)
        return []

    # -- the end of an attempt ------------------------------------------------------------------

    def _exited(self, attempt: Attempt, event: events.ProcessExited) -> list[Action]:
        if event.process != attempt.process or attempt.exited is not None:
            return []
        attempt.exited = event
        # Its last messages may still lie in the socket: a connection's end comes after them.
        return [] if attempt.open else self._conclude(attempt, event)

    def _gone(self, attempt: Attempt, event: events.HookGone) -> list[Action]:
        if event.connection not in attempt.open:
            return []
        attempt.open.discard(event.connection)
        exited = attempt.exited
        return [] if exited is None or attempt.open else self._conclude(attempt, exited)

    def _conclude(self, attempt: Attempt, exited: events.ProcessExited) -> list[Action]:
        around = self._watching.ended(attempt, self._attempts[:-1])
        state, verdict = attempt.state(), attempt.verdict(around, self.healing.policy.thresholds)
        self.verdicts.append(verdict)
        self._records.ended(attempt.number, exited, verdict, attempt.last_epoch())
        self.healing.ended(attempt)
        self.foreseeing.ended(attempt)
        self.ordering.living.ended(state)
        status = attempt.exit_status()
        if attempt.distrusted is not None:
            # It was ended on purpose: even if it says that all is well, the training is not done.
            return self.healing.give_up(attempt.distrusted, status or 128 + signal.SIGTERM)
        observed = [] if state.spec is not None else [Say(sentences.observed_only(state))]
        if verdict.kind is Kind.FINISHED:
            return [*self.healing.finished(), *observed, Finish(status)]
        if verdict.kind.is_answered:
            # Images are cached before the trainer is set up: then what it was told must do.
            user = self.user or (state.spec if verdict.kind.is_host else None)
            return self.healing.answer(attempt, verdict, user, status, around)
        if attempt.number > 0 and verdict.kind is not Kind.INTERRUPTED:
            return self.healing.give_up(verdict.sentence, status)
        said = [Say(verdict.sentence)] if verdict.kind is Kind.KILLED else observed
        return [*said, Finish(status)]
