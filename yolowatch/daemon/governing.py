"""What people may do to the runs of a fleet: pause, approve, roll back, and give other rules.

Beside the fleet, which is told of trainings; both are called by the loop only.
"""

from __future__ import annotations

from yolowatch.daemon.fleet import Fleet
from yolowatch.daemon.member import Do, Member
from yolowatch.daemon.ruling import rule_of
from yolowatch.edges.pausing import Paused
from yolowatch.model.actions import Action, Say
from yolowatch.model.service import ServiceConfig

PAUSED = "paused"


class Governor:
    """Owns what is paused."""

    def __init__(self, fleet: Fleet, paused: Paused) -> None:
        self._fleet = fleet
        self.paused = paused
        fleet.pause_of = self._reason

    def pause(self, paused: Paused) -> list[Do]:
        """From now on these are paused and no others; plans that waited for that go on."""
        self.paused = paused
        done: list[Do] = []
        for member in self._living():
            reason = self._reason(member.run)
            if reason != member.core.healing.paused:
                said = Say("paused: it is observed, and nothing is done" if reason else "resumed")
                done += self._fleet.perform(member, [said, *member.core.healing.hold(reason)])
        return done

    def approve(self, run: str, by: str) -> list[Do]:
        """Carry out the plan that waits; nothing where none does."""
        member = self._fleet.members.get(run)
        actions = member.core.healing.approve() if member is not None else []
        if member is None or not actions:
            return []
        return self._fleet.perform(member, [Say(f"its plan was approved {by}"), *actions])

    def roll_back(self, run: str, by: str) -> list[Do]:
        """Put the files back; a plan that waits would change them again and is given up."""
        member = self._fleet.members.get(run)
        if member is None:
            return []
        healing = member.core.healing
        said: list[Action] = [Say(f"its files were rolled back {by}")]
        actions = healing.roll_back()
        if healing.pending:
            actions = healing.stand_down(f"its files were rolled back {by}")
        return self._fleet.perform(member, said + actions)

    def reconfigure(self, config: ServiceConfig) -> list[Do]:
        """Other rules are in force from now on; what waits for approval goes on waiting."""
        self._fleet.config = config
        done: list[Do] = []
        for member in self._living():
            user = member.core.user
            run_dir = user.run_dir if user is not None else None
            rule = rule_of(config, self._fleet.own_uid, member.adoption, run_dir, member.reason)
            before, member.rule = member.rule, rule
            member.core.healing.policy = rule.policy
            if before.mode != rule.mode:
                said = Say(f"mode {rule.mode} from now on: {rule.reason}")
                done += self._fleet.perform(member, [said])
        return done

    def _living(self) -> list[Member]:
        return [each for each in self._fleet.members.values() if not each.core.over]

    def _reason(self, run: str) -> str | None:
        return PAUSED if self.paused.everything or run in self.paused.runs else None
