"""What people are told of incidents, and when: pure, from situations to messages.

A person is told when nothing happens any more without them, and again when that is over; of what
healed itself they are informed once. What comes together is one message, and there are so many an
hour at most: an alarm that never stops is switched off. Nobody is told the same thing twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from yolowatch.model.discreet import discreet
from yolowatch.model.notifications import Message, Notice, Notifications, Situation, Weight
from yolowatch.model.printable import printable
from yolowatch.model.standing import Standing

_HOUR = 3600.0
_MOST_WAITING = 200  # notices; more is no message that anybody reads
_MOST_TOLD = 1000
# Ends that a person brought about: they know.
_BY_A_PERSON = ("came between two attempts", "rolled back", "somebody else")


@dataclass(frozen=True)
class Desk:
    """What waits to be said, and what was said."""

    waiting: tuple[Notice, ...] = ()
    told: Mapping[str, str] = field(default_factory=dict)  # incident -> the value of its standing
    sent_at: tuple[float, ...] = ()  # of the last hour
    dropped: int = 0


def heard(desk: Desk, now: Situation, at: float, wanted: Notifications) -> Desk:
    """The desk after an incident stands like this."""
    others = tuple(each for each in desk.waiting if each.situation.incident != now.incident)
    before = desk.told.get(now.incident)
    weight = weigh(before, now)
    if weight is Weight.INFORMED and wanted.about == "person":
        weight = None
    if weight is None:
        return replace(desk, waiting=others)
    since = next((each.at for each in desk.waiting if each.situation.incident == now.incident), at)
    waiting = (*others, Notice(weight, now, since))
    cut = max(len(waiting) - _MOST_WAITING, 0)
    return replace(desk, waiting=waiting[cut:], dropped=desk.dropped + cut)


def weigh(before: str | None, now: Situation) -> Weight | None:
    """What is to be said of an incident of which `before` was told last; None is nothing."""
    if now.standing.value == before or now.standing is Standing.UNDER_WAY:
        return None
    needed = before is not None and Standing(before).needs_person
    if now.standing.needs_person:
        known = now.reason is not None and any(each in now.reason for each in _BY_A_PERSON)
        return Weight.INFORMED if known else Weight.PERSON
    if now.standing is Standing.WATCHED:
        return None if now.minor else Weight.INFORMED
    if now.standing is Standing.PASSED:
        return Weight.RECOVERED if needed else None
    if now.standing.is_good:
        if needed:
            return Weight.RECOVERED
        # That it came to its end says nothing new to whom was told that it trains again.
        return Weight.INFORMED if before is None else None
    return Weight.INFORMED


def due(desk: Desk, now: float, wanted: Notifications) -> tuple[Desk, Message | None]:
    """The message that is to be sent now, if any, and the desk without it."""
    sent = tuple(at for at in desk.sent_at if 0 <= now - at < _HOUR)
    if not desk.waiting or len(sent) >= wanted.per_hour:
        return replace(desk, sent_at=sent), None
    if now - min(each.at for each in desk.waiting) < wanted.group_seconds:
        return replace(desk, sent_at=sent), None
    message = _message(desk.waiting, desk.dropped)
    told = {**desk.told, **dict(message.told)}
    kept = dict(list(told.items())[-_MOST_TOLD:])
    return Desk((), kept, (*sent, now)), message


def _message(notices: tuple[Notice, ...], dropped: int) -> Message:
    order = (Weight.PERSON, Weight.RECOVERED, Weight.INFORMED)
    ranked = sorted(notices, key=lambda each: order.index(each.weight))
    first = ranked[0]
    host = first.situation.host
    about = "" if host is None else f" {_plain(host, 64)}:"
    if len(ranked) == 1:
        subject = _headline(first)
    else:
        needing = sum(each.weight is Weight.PERSON for each in ranked)
        subject = f"{len(ranked)} incidents"
        subject += f", {needing} need a person" if needing else ", none needs a person"
    parts = [_paragraph(each) for each in ranked]
    if dropped:
        parts.append(f"{dropped} more are not listed.")
    told = tuple((each.situation.incident, each.situation.standing.value) for each in ranked)
    return Message(first.weight, f"[yolowatch]{about} {subject}", "\n\n".join(parts), told)


def _headline(notice: Notice) -> str:
    situation = notice.situation
    if notice.weight is Weight.RECOVERED:
        return f"recovered: run {situation.run} is {situation.standing.value}"
    return f"run {situation.run}: {situation.standing.value}"


def _paragraph(notice: Notice) -> str:
    situation = notice.situation
    lines = [f"{_headline(notice)}.", _plain(situation.sentence)]
    if situation.reason is not None:
        lines.append(f"Why: {_plain(situation.reason)}")
    whose = [each for each in (situation.user, situation.model, situation.run_dir) if each]
    if whose:
        lines.append(f"Run: {_plain(' · '.join(whose), 300)}")
    if situation.standing is Standing.WAITING:
        lines.append(f"To approve: yolowatch approve {situation.run}")
    lines.append(f"Incident {situation.incident}: yolowatch show {situation.run}")
    return "\n".join(lines)


def _plain(text: str, limit: int = 600) -> str:
    """On one line, visible, and without what looks like a secret."""
    return printable(discreet(text), limit)
