"""When is pushed, when again, what is said and counted of it. The sender has tests of its own."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from tests.commands.door import until
from tests.daemon.test_publishing import House, house
from tests.otlp_receiver import Receiver, Reply, samples
from yolowatch import __version__
from yolowatch.daemon.pushing import Pushing, resource
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.otlp import Sender
from yolowatch.model.push import Answer, Otlp, Pushes

__all__ = ["house"]

ON = Otlp("http://collector:4318/v1/metrics", 60.0)
BUSY, NOW = Answer("it answers 503", retry_after_seconds=5.0), Answer()


class Played(Sender):
    """Answers in turn, then with the last for ever; knows when it was asked."""

    def __init__(self, house: House) -> None:
        super().__init__(house.clock)
        self.house = house
        self.answers: list[Answer] = [NOW]
        self.sent: list[tuple[float, ExportMetricsServiceRequest]] = []

    def send(self, wanted: Otlp, body: bytes) -> Answer:
        message = ExportMetricsServiceRequest.FromString(body)
        self.sent.append((self.house.clock.now, message))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @property
    def times(self) -> list[float]:
        return [at - 1000.0 for at, _ in self.sent]


class Round:
    """A pusher whose thread is this one: what it waits for passes at once."""

    def __init__(self, house: House, wanted: Otlp = ON) -> None:
        self.house, self.wanted = house, wanted
        self.said: list[str] = []
        self.sender = Played(house)
        self.pushing = Pushing(
            lambda: self.wanted,
            house.publisher,
            resource(0),
            house.clock,
            self.said.append,
            lambda name, trace: pytest.fail(trace),
            lambda: None,
            self.sender,
        )

    def until(self, seconds: float) -> None:
        """Let it work until so much time has passed since the beginning."""
        while self.house.clock.now < 1000.0 + seconds:
            pause = self.pushing.look()
            assert 0.0 <= pause <= 5.0, "a sign of life each few seconds"
            self.house.clock.sleep(pause)

    @property
    def counted(self) -> tuple[float | None, ...]:
        """Pushes, failures and the last success, as they are exported."""
        found = samples_of(self.house)
        names = ("pushes_total", "push_failures_total", "push_timestamp_seconds")
        return tuple(found.get(f"yolowatch_otlp_{name}") for name in names)


def samples_of(house: House) -> dict[str, float]:
    """Those without a label, of a scrape."""
    lines = [line.split(" ") for line in house.page().splitlines() if line[0] != "#"]
    return {words[0]: float(words[1]) for words in lines if len(words) == 2 and "{" not in words[0]}


def test_it_pushes_at_once_and_then_in_time(house: House) -> None:
    round_ = Round(house)
    round_.until(181)
    assert round_.sender.times == [0.0, 60.0, 120.0, 180.0]
    assert (round_.said, round_.counted) == ([], (4.0, 0.0, 1180.0))


def test_a_push_tells_what_a_scrape_finds(house: House) -> None:
    house.add("on", "/runs/c")
    house.publisher.publish()
    round_ = Round(house)
    round_.until(1)
    (_, message), *_ = round_.sender.sent
    pushed = {(name, *labels) for name, labels in samples(message)}
    page = {
        (sample.name, *sorted(sample.labels.items()))
        for family in text_string_to_metric_families(house.page())
        for sample in family.samples
    }
    assert ("yolowatch_run_state", ("run", "on"), ("yolowatch_run_state", "starting")) in pushed
    # A first push has not been taken yet when it is made.
    assert page - pushed == {("yolowatch_otlp_push_timestamp_seconds",)}
    assert pushed - page == set()


def test_where_nothing_is_pushed_nothing_is_counted(house: House) -> None:
    round_ = Round(house, Otlp())
    round_.until(120)
    assert (round_.sender.sent, round_.counted) == ([], (None, None, None))
    round_.pushing.turn()
    assert not any(each.name == "yolowatch-otlp" for each in threading.enumerate())


def test_a_changed_configuration_counts_within_seconds(house: House) -> None:
    round_ = Round(house)
    round_.until(12)
    round_.wanted = replace(ON, every_seconds=10.0)
    round_.until(31)
    assert round_.sender.times == [0.0, 15.0, 25.0]
    round_.wanted = Otlp()
    round_.until(120)
    assert len(round_.sender.times) == 3
    assert round_.counted == (None, None, None)


def test_a_receiver_that_asks_for_patience_gets_it(house: House) -> None:
    round_ = Round(house)
    round_.sender.answers = [BUSY, replace(BUSY, retry_after_seconds=130.0), NOW]
    round_.until(200)
    assert round_.sender.times == [0.0, 5.0, 135.0, 195.0]
    assert round_.counted == (4.0, 2.0, 1195.0)


def test_one_that_asks_to_be_asked_again_and_again_is_asked_in_time(house: House) -> None:
    round_ = Round(house)
    round_.sender.answers = [replace(BUSY, retry_after_seconds=0.0)]
    round_.until(130)
    assert round_.sender.times == [0.0, 1.0, 2.0, 3.0, 63.0, 123.0]


def test_one_that_asks_for_a_year_is_asked_after_an_hour(house: House) -> None:
    round_ = Round(house)
    round_.sender.answers = [replace(BUSY, retry_after_seconds=3e7), NOW]
    round_.until(3605)
    assert round_.sender.times == [0.0, 3600.0]


def test_without_a_word_of_when_the_next_push_replaces_it(house: House) -> None:
    round_ = Round(house)
    round_.sender.answers = [Answer("it answers 503"), NOW]
    round_.until(61)
    assert round_.sender.times == [0.0, 60.0]


def test_trouble_is_said_once_and_that_it_is_over(house: House) -> None:
    round_ = Round(house)
    refused, late = Answer("connection refused"), Answer("it does not answer in time")
    round_.sender.answers = [refused, refused, late, refused, late, NOW]
    round_.until(600)
    goes_on = "; yolowatch goes on trying"
    assert round_.said == [
        f"metrics cannot be pushed to collector:4318: connection refused{goes_on}",
        f"metrics cannot be pushed to collector:4318: it does not answer in time{goes_on}",
        "metrics are taken by collector:4318 again",
    ]
    # What comes and goes is not said each time.
    round_.sender.answers = [refused, NOW]
    round_.until(1200)
    assert len(round_.said) == 3
    house.clock.sleep(4000)
    round_.until(5300)
    round_.sender.answers = [refused, NOW]
    round_.until(5500)
    assert round_.said[3:] == [round_.said[0], round_.said[2]]


def test_what_a_receiver_says_is_told_once_whatever_it_says(house: House) -> None:
    round_ = Round(house)
    part = Answer("it takes only a part of the metrics", "3 are too old")
    round_.sender.answers = [part, replace(part, detail="4 are too old")]
    round_.until(120)
    assert round_.said == [
        "metrics cannot be pushed to collector:4318: it takes only a part of the metrics "
        "(3 are too old); yolowatch goes on trying"
    ]


def test_counters_keep_their_start_from_push_to_push(house: House) -> None:
    house.add("on", "/runs/c")
    house.publisher.publish()
    round_ = Round(house)
    round_.until(61)
    found = []
    for _, message in round_.sender.sent:
        (scope,) = message.resource_metrics[0].scope_metrics
        (attempts,) = (each for each in scope.metrics if each.name == "yolowatch_attempts_total")
        (point,) = attempts.sum.data_points
        found.append((point.start_time_unix_nano, point.time_unix_nano))
    second = 10**9
    assert found == [(1000 * second, 1000 * second), (1000 * second, 1060 * second)]


def test_who_pushes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 999)
    system = resource(1000)
    assert system["service.name"] == "yolowatch"
    assert system["service.version"] == __version__
    assert system["service.instance.id"] == system["host.name"] == os.uname().nodename
    monkeypatch.setattr(os, "geteuid", lambda: 41999)
    # Of two daemons on one machine each has its own series.
    assert resource(1000)["service.instance.id"] == f"{os.uname().nodename}/41999"


def test_the_loop_waits_for_nobody_and_the_thread_ends(house: House) -> None:
    """With the real sender, clock and thread, and a receiver that never answers."""
    receiver = Receiver(Reply(manner="hang"))
    beats: list[None] = []
    pushing = Pushing(
        lambda: Otlp(receiver.url, 5.0),
        house.publisher,
        resource(0),
        SystemClock(),
        lambda sentence: None,
        lambda name, trace: None,
        lambda: beats.append(None),
        Sender(SystemClock(), 0.3),
    )
    try:
        for _ in range(100):
            pushing.turn()
        (thread,) = (each for each in threading.enumerate() if each.name == "yolowatch-otlp")
        until(lambda: beats)
        assert len(receiver.got) == 1
        pushing.close()
        thread.join(10)
        assert not thread.is_alive()
    finally:
        receiver.close()
    assert house.publisher.pushes() == Pushes(1, 1, None)
