"""What a scrape finds: one answer for all who ask at once, and runs only as long as they matter."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from tests.daemon.parts import FakeClock
from tests.daemon.scenes import Scene
from yolowatch.daemon.exporting import Watched
from yolowatch.daemon.observing import Observers
from yolowatch.daemon.publishing import Publisher
from yolowatch.edges.listener import Listener
from yolowatch.edges.nvml import NoNvml
from yolowatch.metrics import render


class House:
    """A publisher of some scenes' runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, FakeClock()
        self.scenes: dict[str, Scene] = {}
        self.listener = Listener(
            folder / "hook.sock", lambda _event: True, uids=None, clock=self.clock
        )
        self.observers = Observers(NoNvml("no driver"), self.clock, lambda _event: True)
        self.publisher = Publisher(
            lambda: {name: Watched(each.core, each.records) for name, each in self.scenes.items()},
            self.listener,
            lambda: 0,
            self.clock,
            self.observers,
        )

    def add(self, name: str, run_dir: str) -> Scene:
        (self.folder / name).mkdir()
        self.scenes[name] = scene = Scene(self.folder / name, run_dir=run_dir)
        scene.start()
        scene.describe()
        return scene

    def page(self, accept: str = "") -> str:
        self.publisher.publish()
        self.clock.sleep(6.0)  # an answer is given to all who ask within seconds
        return self.publisher.page(accept)[1].decode()

    def runs(self) -> dict[str, str]:
        """The state of each run that is exported."""
        found = re.findall(
            r'yolowatch_run_state\{run="(\w+)",yolowatch_run_state="(\w+)"\} 1\.0', self.page()
        )
        return dict(found)


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    yield house
    house.listener.close()


def end(scene: Scene, status: int) -> None:
    if status == 0:
        scene.tell("bye", finished=True)
    scene.exit(status)
    scene.gone()


def test_a_run_that_is_over_leaves_after_a_while(house: House) -> None:
    end(house.add("good", "/runs/a"), 0)
    end(house.add("bad", "/runs/b"), 1)
    house.add("on", "/runs/c")
    assert house.runs() == {"good": "finished", "bad": "failed", "on": "starting"}
    house.clock.sleep(2 * 3600.0)
    assert house.runs() == {"bad": "failed", "on": "starting"}, "what needs a person stays longer"
    house.clock.sleep(24 * 3600.0)
    assert house.runs() == {"on": "starting"}


def test_a_failed_run_leaves_as_soon_as_somebody_trains_in_its_directory(house: House) -> None:
    end(house.add("first", "/runs/a"), 1)
    end(house.add("other", "/runs/b"), 1)
    assert set(house.runs()) == {"first", "other"}
    second = house.add("second", "/runs/a")
    assert set(house.runs()) == {"second", "other"}
    end(second, 0)
    assert set(house.runs()) == {"second", "other"}, "and does not come back"


def test_many_who_ask_at_once_get_one_answer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.add("on", "/runs/a")
    house.publisher.publish()
    made = []
    page = render.page

    def counted(*args: object) -> render.Page:
        made.append(threading.get_ident())
        return page(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(render, "page", counted)
    bodies: list[bytes] = []
    asking = [
        threading.Thread(target=lambda: bodies.append(house.publisher.page("")[1]))
        for _ in range(20)
    ]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert (len(made), len(bodies), len(set(bodies))) == (1, 20, 1)
    house.publisher.page("application/openmetrics-text; version=1.0.0")
    assert len(made) == 2
    house.clock.sleep(5)
    again = house.publisher.page("")[1].decode()
    assert len(made) == 3, "an answer is not given for ever, even where the loop stands still"
    assert "yolowatch_scrape_duration_seconds_count 21.0" in again


def test_while_an_answer_is_made_others_get_the_one_before(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = house.publisher.page("")
    making, go_on = threading.Event(), threading.Event()
    page = render.page

    def slow(*args: object) -> render.Page:
        making.set()
        assert go_on.wait(30)
        return page(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(render, "page", slow)
    house.clock.sleep(3)
    maker = threading.Thread(target=house.publisher.page, args=("",))
    maker.start()
    assert making.wait(30)
    assert house.publisher.page("") == before
    house.clock.sleep(30)
    late: list[tuple[str, bytes]] = []
    waiter = threading.Thread(target=lambda: late.append(house.publisher.page("")))
    waiter.start()
    waiter.join(0.2)
    assert late == [], "what is old is given to nobody"
    go_on.set()
    maker.join()
    waiter.join()
    assert late[0] != before


def test_a_client_that_asks_for_a_thousand_versions_fills_nothing(house: House) -> None:
    for number in range(1, 1000):
        house.publisher.page(f"application/openmetrics-text; version={number}.0.0")
    assert len(house.publisher._pages) <= 8


def test_the_loop_s_heart_is_the_loop_s_own(house: House) -> None:
    assert "heartbeat_timestamp_seconds{" not in house.page()
    house.publisher.count(0.25)
    house.clock.sleep(5)
    body = house.page()
    assert 'yolowatch_edge_heartbeat_timestamp_seconds{edge="core"} 1006.0' in body
    assert "yolowatch_cycle_duration_seconds_sum 0.25" in body
    assert "yolowatch_nvml_up" not in body, "there is no driver, and so none that fails"
    assert re.search(r"yolowatch_own_resident_bytes [1-9]", body)


def test_the_host_is_told_which_processes_to_look_at(house: House) -> None:
    scene = house.add("on", "/runs/a")
    house.publisher.publish()
    assert house.observers.hosts.watched == {"on": scene.process}
    end(scene, 0)
    house.publisher.publish()
    assert house.observers.hosts.watched == {}
