"""The parts that show incidents to people, put together the same way for `run` and for the service.

The loop looks (`Stories`), a thread writes pages (`Teller`), and the HTTP door serves them. It is
here so that both composition roots differ only in whose runs they show.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from yolowatch import __version__
from yolowatch.daemon import threads
from yolowatch.daemon.controlling import Controller
from yolowatch.daemon.core import Core
from yolowatch.daemon.devices import Devices
from yolowatch.daemon.fleet import Fleet
from yolowatch.daemon.member import Member
from yolowatch.daemon.notifying import Notifying
from yolowatch.daemon.publishing import Publisher
from yolowatch.daemon.pulse import Pulse
from yolowatch.daemon.records import Records
from yolowatch.daemon.serving import Serving, host_name
from yolowatch.daemon.stories import Draft, Stories
from yolowatch.daemon.telling import Teller
from yolowatch.daemon.viewing import view_of
from yolowatch.decide.rules import Rule
from yolowatch.edges.clock import Clock
from yolowatch.edges.http import Address, HttpServer, parse_address
from yolowatch.edges.http_access import Access
from yolowatch.edges.journal_reader import JournalReader
from yolowatch.edges.names import user_name
from yolowatch.edges.story_files import StoryFiles
from yolowatch.model import events
from yolowatch.model.adoption import Adoption
from yolowatch.model.identity import ProcessKey
from yolowatch.model.notifications import Notifications
from yolowatch.model.plan import Policy
from yolowatch.model.view import FleetView, RunView


@dataclass(frozen=True)
class Shown:
    """Whose runs they are; all of it is called by the loop."""

    members: Callable[[], Mapping[str, Member]]
    view: Callable[[tuple[RunView, ...]], FleetView]  # of all, from those of the runs
    notifications: Callable[[], Notifications] = Notifications


class Front:
    """What stands between the loop and people, for the runs of `members`."""

    def __init__(
        self,
        state_directory: Path,
        journal: JournalReader,
        clock: Clock,
        say: Callable[[str], None],
        failed: Callable[[str, str], None],
        shown: Shown,
    ) -> None:
        self._clock, self._say, self._failed = clock, say, failed
        self._blind = False
        self._pulse = Pulse(clock)
        self._server: HttpServer | None = None
        self._teller = Teller(journal, StoryFiles(state_directory), say)
        self._notifying = Notifying(state_directory, shown.notifications, clock, say, failed)
        self._stories = Stories(shown.members, shown.view, self._changed, host_name())
        self._thread = threads.start("pages", self._teller.work, failed)

    def __enter__(self) -> Front:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def serve(
        self, where: Address | str | None, web_config: Path | str | None, publisher: Publisher
    ) -> None:
        """Serve metrics and pages until `close`, if anywhere; raises AddressError, ConfigError."""
        if where is None:
            return
        address = parse_address(where) if isinstance(where, str) else where
        path = Path(web_config) if web_config is not None else None
        access = Access(path, self._clock, self._say)
        server = HttpServer(
            address,
            publisher.page,
            healthy=self._pulse.healthy,
            ready=self._pulse.ready,
            pages=Serving(lambda: self._stories.overview, self._teller, self._clock),
            access=access,
            clock=self._clock,
        )
        self._server = server
        publisher.failures = lambda: server.failures
        server.start()
        self._say(f"metrics on {server.url}")
        if server.exposed:
            self._say(
                f"everybody who reaches {address} can read metrics and pages there: name a "
                "web_config with basic_auth_users, or listen on 127.0.0.1"
            )

    def recovered(self) -> None:
        """Called by the loop once every run of a daemon before this one is taken up."""
        self._pulse.recovered()

    def turned(self, event: events.Event) -> None:
        """Called by the loop after each event."""
        self._pulse.beat()
        if not isinstance(event, events.HookMessage):  # of which there may be hundreds a second
            self._look()
            self._notifying.turn()

    def _look(self) -> None:
        """What is shown must not end what watches: after one failure it is not looked for again."""
        if self._blind:
            return
        try:
            self._stories.look(self._clock.monotonic())
        except Exception:
            self._blind = True
            self._failed("pages", traceback.format_exc())

    def _changed(self, draft: Draft) -> None:
        self._teller.tell(draft)
        self._notifying.changed(draft)

    def close(self) -> None:
        """Called by the loop when it ends: stop serving, and let the last pages be written."""
        self._look()  # at what the last event has changed
        if self._server is not None:
            self._server.close()
        self._notifying.close()
        self._teller.stop()
        self._thread.join(timeout=10.0)


def all_runs(fleet: Fleet, controller: Controller, devices: Devices) -> Shown:
    """Of the service: every member of the fleet, and whom its configuration has told."""
    return Shown(
        lambda: fleet.members,
        lambda runs: view_of(runs, fleet, controller.paused, devices.readings()),
        lambda: fleet.config.notifications,
    )


def only_run(core: Core, records: Records, command: tuple[str, ...], policy: Policy) -> Shown:
    """Of `yolowatch run`: one member, whose user is the caller."""
    uid = os.getuid()
    process = ProcessKey("", os.getpid(), 0)  # the training has none yet
    adoption = Adoption(process, uid, command, os.getcwd(), user_name(uid))
    member = Member(
        records.run, adoption, Rule(policy.mode, "yolowatch run", policy), records, core
    )
    return Shown(
        lambda: {records.run: member},
        lambda runs: FleetView(__version__, uid, policy.mode, runs=runs),
    )
