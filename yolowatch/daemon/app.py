"""The composition root of `yolowatch run`: builds the parts, connects them, turns the loop.

One queue, one loop in the main thread, and named threads at the edges. Here alone is known which
hands, clock and NVML the others get.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from yolowatch.daemon import threads
from yolowatch.daemon.core import Core
from yolowatch.daemon.counting import tell
from yolowatch.daemon.exporting import Watched
from yolowatch.daemon.front import Front, only_run
from yolowatch.daemon.observing import Observers
from yolowatch.daemon.publishing import Publisher
from yolowatch.daemon.records import Records
from yolowatch.edges import http, nvml, proc, statedir, terminal
from yolowatch.edges.clock import Clock, SystemClock
from yolowatch.edges.journal import Journal
from yolowatch.edges.lease import RUN, Lease, LeaseHeld
from yolowatch.edges.listener import Listener
from yolowatch.edges.stage import stage
from yolowatch.errors import LaunchError, YolowatchError
from yolowatch.hands.executor import Executor
from yolowatch.hands.launching import Hooking, Launcher, as_child
from yolowatch.hands.local import LocalHands
from yolowatch.hands.port import Hands
from yolowatch.hands.vaulting import Vaults
from yolowatch.model import events
from yolowatch.model.actions import (
    Action,
    CountBoxes,
    Finish,
    Launch,
    Order,
    RestoreFiles,
    RunStep,
    Say,
    Signal,
    VaultCheckpoint,
)
from yolowatch.model.plan import Policy
from yolowatch.model.printable import printable

_QUEUE_EVENTS, _TICK_SECONDS = 4096, 0.5
_FROM_TERMINAL = 0x80  # SI_KERNEL: the terminal sent it to the whole foreground group
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@dataclass(frozen=True)
class Options:
    """What `yolowatch run` was asked for; `metrics` is an address or None."""

    command: tuple[str, ...]
    policy: Policy
    state_dir: Path | None = None
    metrics: http.Address | None = None
    web_config: Path | None = None  # of the HTTP door
    quiet: bool = False
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))


@dataclass(frozen=True)
class Outcome:
    """How a supervision ended; `core` may still be asked what it knows."""

    exit_status: int
    run: str
    core: Core
    state_directory: Path


def supervise(options: Options, progress: Callable[[Core], None] | None = None) -> Outcome:
    """Run the command to its end, healing it on the way; blocks in the calling (main) thread.

    Raises StateError, AddressError or LaunchError before anything was started.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise LaunchError(
            "The current directory does not exist any more: change to another."
        ) from error
    with contextlib.ExitStack() as stack:
        return _Supervision(options, stack).run(progress)


class _Supervision:
    def __init__(self, options: Options, stack: contextlib.ExitStack) -> None:
        # The calibration runs of the demonstration are to say nothing.
        self._say: Callable[[str], None] = (lambda _: None) if options.quiet else _say
        self._stack = stack
        self._claimed: str | None = None  # the directory whose lease was asked for
        self._queue: queue.Queue[events.Event] = queue.Queue(_QUEUE_EVENTS)
        self._steps: queue.Queue[RunStep | None] = queue.Queue()
        self._step_in_hand: RunStep | None = None
        self._over = threading.Event()
        self._clock: Clock = SystemClock()
        self._tick_at = self._clock.monotonic()
        self._hands: Hands = LocalHands(self._clock)
        state = self._state = statedir.state_directory(options.state_dir, os.environ)
        journal = stack.enter_context(Journal(state / "journal.sqlite", self._clock))
        staged = stage(state)
        sockets = statedir.socket_directory(os.environ)
        stack.callback(statedir.remove_socket_directory, sockets)
        mode, supervisor = options.policy.mode, proc.process_key(os.getpid())
        self._records = Records.begin(
            journal, options.command, os.getcwd(), mode, supervisor, self._say
        )
        stack.push(self._not_started)
        self.core = Core(self._records, options.policy)
        uids = frozenset({os.getuid(), 0})
        driver = nvml.open_nvml()
        self._observers = Observers(driver, self._clock, self._post)
        listener = Listener(sockets / "hook.sock", self._post, uids=uids, clock=self._clock)
        listener.beat = self._observers.heartbeats.of("listener")
        self._listener = listener
        stack.callback(listener.close)
        policy = options.policy
        budget_bytes = round(policy.vault_gib * 2**30)
        self._vaults = Vaults(self._clock, policy.keep_checkpoints, self._post, budget_bytes)
        stack.callback(self._observers.close)
        self._launcher = Launcher(
            options.command,
            options.environment,
            Hooking(staged.path, listener.path),
            as_child(self._hands, lambda launched: self._hands.watch(launched, self._post)),
            self._clock,
            options.policy,
            driver,
        )
        self._executor = Executor(
            self._hands, self._clock, options.policy, self._launcher, self._vaults
        )
        watched = {self._records.run: Watched(self.core, self._records, mode=mode)}
        self._publisher = Publisher(
            lambda: watched, listener, self._queue.qsize, self._clock, self._observers
        )
        self._block_signals(stack)  # before any thread: they inherit it
        shown = only_run(self.core, self._records, options.command, options.policy)
        told = (self._say, self._thread_failed)
        self._front = stack.enter_context(Front(state, journal, self._clock, *told, shown))
        self._front.recovered()  # there was nothing to take up
        self._front.serve(options.metrics, options.web_config, self._publisher)
        stack.callback(self._end_threads)
        listener.start()
        self._observers.start(self._thread_failed)
        for name, body in (
            ("signals", self._receive_signals),
            ("executor", self._execute),
            ("vault", self._vaults.work),
        ):
            threads.start(name, body, self._thread_failed)

    def _block_signals(self, stack: contextlib.ExitStack) -> None:
        """From here on they are received by a thread that can tell who sent them."""
        # What is ignored stays so: under nohup the training is to survive the hang-up too, and a
        # blocked signal would be received even then.
        self._signals = [n for n in _SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
        for number in self._signals:
            before = signal.signal(number, lambda n, _frame: self._signalled(n, forward=True))
            stack.callback(signal.signal, number, before)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, mask)

    def _end_threads(self) -> None:
        self._over.set()
        self._steps.put(None)
        self._vaults.stop()

    def _not_started(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """The journal must not hold a run without an end that never had a beginning."""
        if isinstance(error, YolowatchError):
            self._records.finished(error.exit_code, self.core.summary())

    def run(self, progress: Callable[[Core], None] | None) -> Outcome:
        self._say(f"watching run {self._records.run}")
        status = self._perform([Launch(0)])  # the user's own command
        while status is None:
            event = self._next_event()
            began = self._clock.monotonic()
            if isinstance(event, events.ProcessExited):
                self._listener.hurry()
            status = self._perform(self.core.step(event))
            self._claim()
            self._front.turned(event)
            self._publisher.count(self._clock.monotonic() - began)
            if not isinstance(event, events.HookMessage):  # of which there may be hundreds a second
                self._publisher.publish()
            if progress is not None:
                progress(self.core)
        self._records.finished(status, self.core.summary())
        return Outcome(status, self._records.run, self.core, self._state)

    def _claim(self) -> None:
        """Take the lease of the run's directory once it is known; without it nothing is changed."""
        run_dir = self.core.user.run_dir if self.core.user is not None else None
        if run_dir is None or run_dir == self._claimed or not os.path.isdir(run_dir):
            return
        self._claimed = run_dir
        try:
            self._stack.callback(Lease(Path(run_dir), RUN).release)
        except LeaseHeld as error:
            self.core.healing.foreign = str(error)
        except OSError as error:  # a directory that cannot be written: its vault will say so
            self._say(f"{run_dir} cannot be kept from others ({error.strerror})")

    def _next_event(self) -> events.Event:
        """The next event, or a tick where one is due: time passes beside any stream of others."""
        now = self._clock.monotonic()
        if now < self._tick_at:
            try:
                return self._queue.get(timeout=self._tick_at - now)
            except queue.Empty:
                now = self._clock.monotonic()
        self._tick_at = now + _TICK_SECONDS
        return events.Tick(now)

    def _post(self, event: events.Event) -> bool:
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            return False
        return True

    def _perform(self, actions: Sequence[Action]) -> int | None:
        """Carry out what the core asks for; the exit status once it is finished."""
        for action in actions:
            match action:
                case Say():
                    self._say(action.sentence)
                case Signal():
                    self._signal(action)
                case Order():
                    self._listener.order(action)
                case VaultCheckpoint():
                    self._vaults.order(action)
                case CountBoxes():
                    counting = partial(tell, action, self._clock, self._queue.put)
                    threads.start("labels", counting, self._thread_failed)
                case RunStep():
                    self._steps.put(action)
                case RestoreFiles():
                    for trouble in self._executor.restore(action):
                        self._say(trouble)
                case Launch():
                    self._perform(self.core.step(self._launch(action)))
                case Finish():
                    return action.exit_status
        return None

    def _signal(self, action: Signal) -> None:
        try:
            self._hands.signal(action.process, action.number)
        except OSError as error:  # a program that changed its user
            self._say(f"process {action.process.pid} cannot be signalled ({error.strerror})")

    def _launch(self, action: Launch) -> events.Event:
        process = self._launcher.launch(action, None)
        return events.Started(action.attempt, process, self._clock.monotonic())

    def _execute(self) -> None:
        while True:
            step = self._steps.get()
            if step is None:
                return
            self._step_in_hand = step
            self._queue.put(self._executor.run(step))  # never dropped: the plan waits for it

    def _receive_signals(self) -> None:
        while not self._over.is_set():
            info = signal.sigtimedwait(self._signals, _TICK_SECONDS)
            if info is not None:
                self._signalled(info.si_signo, forward=info.si_code != _FROM_TERMINAL)

    def _signalled(self, number: int, *, forward: bool) -> None:
        self._post(events.SignalReceived(number, forward, self._clock.monotonic()))

    def _thread_failed(self, name: str, trace: str) -> None:
        terminal.tell(trace)
        reason = f"an internal error ended the thread {name}"
        self._say(f"{reason}; the training goes on")
        step = self._step_in_hand
        if name == "executor" and step is not None:  # nobody else will answer for it
            plan, now = step.remediation.plan_id, self._clock.monotonic()
            self._queue.put(events.StepFailed(plan, step.step, reason, now))


def _say(sentence: str) -> None:
    terminal.tell(f"yolowatch: {printable(sentence, 2000)}")
