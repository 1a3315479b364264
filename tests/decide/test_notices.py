"""What people are told, and when: each rule with what it must not do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from yolowatch.decide.notices import Desk, due, heard
from yolowatch.model.notifications import Message, Notifications, Situation, Weight
from yolowatch.model.standing import Standing

WANTED = Notifications(("json://receiver/",), group_seconds=10.0, per_hour=3)
SITUATION = Situation(
    "aaaa0000",
    "1234abcd",
    "CUDA out of memory in backward.",
    Standing.REFUSED,
    "no lever is enough",
    "gpu-box-07",
    "ann",
    "yolov9e.yaml",
    "/data/runs/7",
)


class Office:
    """Hears situations at given seconds and keeps what was sent."""

    def __init__(self, wanted: Notifications = WANTED) -> None:
        self.wanted, self.desk = wanted, Desk()
        self.sent: list[Message] = []

    def hear(self, at: float, standing: Standing, **changes: str | None) -> None:
        now = replace(SITUATION, standing=standing, **changes)  # type: ignore[arg-type]
        self.desk = heard(self.desk, now, at, self.wanted)

    def turn(self, at: float) -> list[Message]:
        """What is sent at this moment."""
        self.desk, message = due(self.desk, at, self.wanted)
        self.sent += [message] if message is not None else []
        return [message] if message is not None else []


@pytest.mark.parametrize(
    ("standing", "weight"),
    [
        (Standing.UNDER_WAY, None),
        (Standing.TRAINING, Weight.INFORMED),
        (Standing.HEALED, Weight.INFORMED),
        (Standing.WAITING, Weight.PERSON),
        (Standing.RECOMMENDED, Weight.PERSON),
        (Standing.REFUSED, Weight.PERSON),
        (Standing.FAILED, Weight.PERSON),
        (Standing.ABANDONED, Weight.PERSON),
        (Standing.FOLLOWED, Weight.INFORMED),
        (Standing.OBSERVED, Weight.INFORMED),
        (Standing.WATCHED, Weight.INFORMED),
        (Standing.ALARM, Weight.PERSON),
        (Standing.PASSED, None),
    ],
)
def test_the_weight_of_each_standing(standing: Standing, weight: Weight | None) -> None:
    office = Office()
    office.hear(0, standing)
    assert [each.weight for each in office.turn(20)] == ([] if weight is None else [weight])


def test_a_message_says_what_why_and_what_to_do() -> None:
    office = Office()
    office.hear(0, Standing.WAITING, reason="mode recommend")
    (message,) = office.turn(10)
    assert message.title == "[yolowatch] gpu-box-07: run 1234abcd: waits for your approval"
    for said in (
        "CUDA out of memory in backward.",
        "Why: mode recommend",
        "ann · yolov9e.yaml · /data/runs/7",
        "yolowatch approve 1234abcd",
        "Incident aaaa0000",
    ):
        assert said in message.text
    assert message.told == (("aaaa0000", "waits for your approval"),)


def test_nobody_is_told_twice() -> None:
    office = Office()
    for at in range(0, 100, 5):
        office.hear(at, Standing.REFUSED)
        office.turn(at)
    assert len(office.sent) == 1
    again = Office()
    again.desk = Desk(told=office.desk.told)  # after a restart
    again.hear(0, Standing.REFUSED)
    assert again.turn(60) == []


def test_what_needed_a_person_recovers_and_the_end_is_told_once() -> None:
    office = Office()
    office.hear(0, Standing.WAITING)
    office.turn(10)
    office.hear(20, Standing.UNDER_WAY)
    assert office.turn(40) == []
    office.hear(50, Standing.TRAINING)
    (message,) = office.turn(60)
    assert message.weight is Weight.RECOVERED
    assert "recovered: run 1234abcd is training again" in message.title
    office.hear(70, Standing.HEALED)
    assert office.turn(90) == []


def test_an_alarm_that_passes_is_over_and_a_warning_that_passes_is_nothing() -> None:
    office = Office()
    office.hear(0, Standing.ALARM)
    office.turn(10)
    office.hear(20, Standing.PASSED)
    assert [each.weight for each in office.turn(40)] == [Weight.RECOVERED]
    other = Office()
    other.hear(0, Standing.WATCHED)
    other.turn(10)
    other.hear(20, Standing.PASSED)
    assert other.turn(40) == []
    minor = Office()
    minor.desk = heard(
        minor.desk, replace(SITUATION, standing=Standing.WATCHED, minor=True), 0, WANTED
    )
    assert minor.turn(40) == []


def test_what_is_over_before_it_was_said_is_not_said() -> None:
    office = Office()
    office.hear(0, Standing.WAITING)
    office.hear(5, Standing.TRAINING)
    (message,) = office.turn(10)
    assert message.weight is Weight.INFORMED
    office.hear(20, Standing.WAITING, incident="bbbb0000")
    office.hear(21, Standing.UNDER_WAY, incident="bbbb0000")
    assert office.turn(60) == []


def test_what_comes_together_is_one_message_and_the_gravest_leads() -> None:
    office = Office()
    office.hear(0, Standing.TRAINING, incident="bbbb0000", run="0000bbbb")
    office.hear(3, Standing.REFUSED)
    assert office.turn(9) == []
    (message,) = office.turn(10)
    assert message.weight is Weight.PERSON
    assert message.title.endswith("2 incidents, 1 need a person")
    assert message.text.index("1234abcd") < message.text.index("0000bbbb")


def test_so_many_an_hour_and_the_rest_waits() -> None:
    office = Office(replace(WANTED, group_seconds=0.0))
    for number in range(10):
        office.hear(number, Standing.REFUSED, incident=f"{number:08x}")
        office.turn(number)
    assert len(office.sent) == 3
    assert office.turn(3599) == []
    (late,) = office.turn(3601)
    assert "7 incidents" in late.title


def test_only_what_needs_a_person_where_that_is_wanted() -> None:
    office = Office(replace(WANTED, about="person"))
    office.hear(0, Standing.TRAINING)
    assert office.turn(60) == []
    office.hear(61, Standing.WAITING, incident="bbbb0000")
    office.turn(80)
    office.hear(81, Standing.TRAINING, incident="bbbb0000")
    assert [each.weight for each in office.turn(100)] == [Weight.RECOVERED]


@pytest.mark.parametrize(
    "reason", ["SIGINT came between two attempts", "its files were rolled back by uid 7"]
)
def test_who_did_it_need_not_be_paged(reason: str) -> None:
    office = Office()
    office.hear(0, Standing.ABANDONED, reason=reason)
    assert [each.weight for each in office.turn(60)] == [Weight.INFORMED]


def test_a_flood_is_bounded_and_counted() -> None:
    office = Office()
    for number in range(500):
        office.hear(0, Standing.REFUSED, incident=f"{number:08x}")
    (message,) = office.turn(60)
    assert "300 more are not listed." in message.text
    assert len(office.desk.told) == 200


def test_no_secret_and_nothing_invisible_is_said() -> None:
    office = Office()
    office.hear(
        0,
        Standing.REFUSED,
        sentence="https://ann:s3cr3t@host token=abcdef \x1b[2J\u202e <script>",
        reason="--api-key s3cr3t",
        host="box\nx",
    )
    (message,) = office.turn(60)
    assert "s3cr3t" not in message.text
    assert "abcdef" not in message.text
    assert all(line.isprintable() for line in (message.title, *message.text.split("\n")))
