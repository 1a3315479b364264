"""The composition root of `yolowatch daemon`: builds the parts, connects them, turns the loop.

It starts no training by itself and ends none: when it stops, whatever trains goes on, and its
successor takes up the runs where it left them.
"""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from yolowatch.daemon import recover, signals, threads
from yolowatch.daemon.controlling import Controller, Surroundings
from yolowatch.daemon.exporting import Watched
from yolowatch.daemon.fleet import Fleet
from yolowatch.daemon.front import Front, all_runs
from yolowatch.daemon.observing import Observers
from yolowatch.daemon.performing import Performer, say
from yolowatch.daemon.publishing import Publisher
from yolowatch.daemon.pushing import Pushing, resource
from yolowatch.daemon.reaching import Reacher
from yolowatch.daemon.surveying import Surveyor
from yolowatch.decide.discovery import worth_a_hook
from yolowatch.edges import nvml, otlp, proc, statedir, terminal
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.config_files import Documents
from yolowatch.edges.config_watch import ConfigWatch
from yolowatch.edges.control import ControlListener
from yolowatch.edges.discovery import Discovery
from yolowatch.edges.journal import Journal
from yolowatch.edges.listener import Listener
from yolowatch.edges.pausing import PauseFile
from yolowatch.edges.service_manager import ServiceManager
from yolowatch.edges.solitude import only_daemon
from yolowatch.edges.stage import stage
from yolowatch.hands.launching import Hooking
from yolowatch.hands.service import service_hands
from yolowatch.hook import wire
from yolowatch.model import events
from yolowatch.model.control import AttachTo, Detach
from yolowatch.model.plan import Policy
from yolowatch.model.service import ServiceConfig

_encode: Callable[[str, Mapping[str, Any]], bytes] = wire.encode
_QUEUE_EVENTS, _TICK_SECONDS = 2048, 0.5
_PUBLISH_SECONDS = 5.0  # nobody scrapes more often
_WORKERS = 16  # runs whose remediations can be on their way at once


@dataclass(frozen=True)
class ServiceOptions:
    """What `yolowatch daemon` was asked for."""

    config: ServiceConfig
    state_dir: Path | None = None
    config_path: Path | None = None
    documents: Documents = ()  # that `config` was made of
    helper: Path | None = None  # the root helper's socket; None: this user's own runs only
    socket_dir: Path | None = None
    environment: Mapping[str, str] | None = None


def serve(options: ServiceOptions) -> int:
    """Watch until SIGTERM or SIGINT; raises StateError or AddressError before anything was done."""
    with contextlib.ExitStack() as stack:
        return _Service(options, stack).run()


class _Service:
    def __init__(self, options: ServiceOptions, stack: contextlib.ExitStack) -> None:
        # Of the two kinds of queues the cheaper one; its bound is kept in `_post`.
        self._queue: queue.SimpleQueue[events.Event] = queue.SimpleQueue()
        self._over = threading.Event()
        clock = self._clock = SystemClock()
        self._tick_at = self._publish_at = self._clock.monotonic()
        config = options.config
        otlp.check(config.otlp)
        environment = options.environment or os.environ
        given = options.state_dir or (Path(config.state_dir) if config.state_dir else None)
        state = statedir.state_directory(given, environment)
        sockets = options.socket_dir or statedir.service_socket_directory(environment)
        address = sockets / "hook.sock"
        self.manager = ServiceManager(os.environ)
        handed = self.manager.handed("hook", address, socket.SOCK_SEQPACKET)
        stack.enter_context(only_daemon(sockets, (address.name,) if handed else ()))
        self._journal = stack.enter_context(Journal(state / "journal.sqlite", self._clock))
        staged = stage(state)
        self.fleet = Fleet(
            self._journal,
            config,
            proc.process_key(os.getpid()),
            lambda: secrets.token_hex(4),
            os.geteuid(),
        )
        everybody = os.geteuid() == 0 or options.helper is not None
        uids = None if everybody else frozenset({os.geteuid(), 0})
        driver = nvml.open_nvml()
        self._observers = Observers(driver, self._clock, self._post)
        beat = self._observers.heartbeats.of
        self._listener = Listener(address, self._post, uids=uids, clock=self._clock, handed=handed)
        self._listener.beat = beat("listener")
        stack.callback(self._listener.close)
        stack.callback(self._observers.close)
        self._hands = service_hands(
            options.helper,
            Hooking(staged.path, self._listener.path),
            self._policy_of,
            driver,
            lambda _run, event: self._post(event),
            grace_seconds=lambda: self.fleet.config.others_grace_seconds,
            clock=self._clock,
        )
        stack.callback(self._hands.close)
        self._reacher = Reacher(environment, state, self._listener.path, self._clock)
        look = beat("discovery")
        self._discovery = Discovery(self._post, self._clock, uids, worth_a_hook, beat=look)
        stack.callback(self._discovery.close)
        self._surveyor = Surveyor(self._hands, self._clock)
        self._performer = Performer(
            self._hands, self._listener, self._surveyor, self._reacher, self._queue.put
        )
        stack.callback(self._performer.close)
        self._control = ControlListener(
            sockets / "control.sock", self._post, self._clock, config.control_group
        )
        stack.callback(self._control.close)
        self._controller = Controller(
            self.fleet, PauseFile(state), options.config_path, self._surroundings()
        )
        if options.config_path is not None:
            self._watch = ConfigWatch(options.config_path, self._post, clock, options.documents)
            stack.callback(self._watch.close)
            self._watch.start()
            signals.on(stack, self._watch.reload, signal.SIGHUP)
        self._publisher = Publisher(
            self._watched, self._listener, self._queue.qsize, self._clock, self._observers
        )
        told = (partial(say, None), self._thread_failed)
        self._pushing = Pushing(
            lambda: self.fleet.config.otlp,
            self._publisher,
            resource(config.minimum_uid),
            self._clock,
            *told,
            beat("otlp"),
        )
        stack.callback(self._pushing.close)
        signals.on(stack, self._over.set, signal.SIGINT, signal.SIGTERM)
        shown = all_runs(self.fleet, self._controller, self._observers.devices)
        self._front = stack.enter_context(Front(state, self._journal, self._clock, *told, shown))
        self._front.serve(config.metrics, config.web_config, self._publisher)

    def run(self) -> int:
        for run, memento in recover.unfinished(self._journal, partial(say, None)):
            self._performer.perform(self.fleet.restore(run, memento))
        self._front.recovered()
        self._listener.start()
        self._control.start()
        self._observers.start(self._thread_failed)
        threads.start("discovery", self._discovery.work, self._thread_failed)
        say(None, f"watching; hooks speak to {self._listener.path}")
        self.manager.ready()
        while not self._over.is_set():
            event = self._next_event()
            began = self._clock.monotonic()
            self._take(event)
            self._front.turned(event)
            self._publisher.count(self._clock.monotonic() - began)
            if isinstance(event, events.Tick) and event.at >= self._publish_at:
                self._publish_at = event.at + _PUBLISH_SECONDS
                self._publisher.publish()
                self._pushing.turn()
            if isinstance(event, events.Tick):
                self.manager.alive(event.at, self._controller.sentence)
        self.manager.stopping()
        say(None, "stopped; trainings go on")
        return 0

    def _take(self, event: events.Event) -> None:
        match event:
            case events.ControlReceived():
                self._controller.asked(event)
            case events.ConfigChanged():
                self._controller.reconfigured(event)
            case _:
                if isinstance(event, events.ProcessExited):
                    self._listener.hurry()
                self._performer.perform(self.fleet.step(event))

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            self._performer.perform,
            self._control.answer,
            proc.owner,
            self._observers.devices.readings,
            lambda group: setattr(self._control, "group", group),
            self._reach,
        )

    def _reach(self, command: AttachTo | Detach, said: Callable[[Mapping[str, Any]], None]) -> None:
        """As a person asked for it; answered when it is done."""
        verb = "attach" if isinstance(command, AttachTo) else "detach"
        policy = self.fleet.config.attach
        self._performer.submit(lambda: said(self._reacher.command(verb, command.pid, policy)))

    def _policy_of(self, run: str) -> Policy:
        member = self.fleet.members.get(run)
        return member.rule.policy if member is not None else self.fleet.config.policy

    def _watched(self) -> dict[str, Watched]:
        return {
            run: Watched(each.core, each.records, each.adoption.user, each.rule.mode)
            for run, each in self.fleet.members.items()
        }

    def _next_event(self) -> events.Event:
        now = self._clock.monotonic()
        if now < self._tick_at:
            try:
                return self._queue.get(timeout=self._tick_at - now)
            except queue.Empty:
                now = self._clock.monotonic()
        self._tick_at = now + _TICK_SECONDS
        return events.Tick(now)

    def _post(self, event: events.Event) -> bool:
        if self._queue.qsize() >= _QUEUE_EVENTS:
            return False
        self._queue.put(event)
        return True

    def _thread_failed(self, name: str, trace: str) -> None:
        terminal.tell(trace)
        say(None, f"an internal error ended the thread {name}; the rest goes on")
