"""A daemon that pushes its metrics: a real process, a real receiver, a changed configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.door import Door
from tests.commands.test_service import Service, mine, service, until_soon
from tests.otlp_receiver import Receiver, Reply
from yolowatch import __version__

__all__ = ["service"]

PASSWORD = "s3cr3t-word"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver(Reply(503, (("Retry-After", "1"),)), Reply())
    yield found
    found.close()


def test_metrics_reach_a_receiver_without_a_restart(service: Service, receiver: Receiver) -> None:
    headers = service.place / "headers"
    headers.write_text(f"Authorization: Bearer {PASSWORD}\n")
    wanted = f"{{endpoint: '{receiver.url}', every_seconds: 3600, headers_file: {headers}}}"
    service.configure(mine("observe"))
    service.start()
    service.speak(os.geteuid(), run_dir="/runs/train")
    until_soon(lambda: service.status()["runs"])
    service.configure(f"otlp: {wanted}\n{mine('observe')}")
    until_soon(lambda: len(receiver.got) == 2)
    taken = receiver.got[1]
    assert (taken.path, taken.headers["Authorization"]) == ("/v1/metrics", f"Bearer {PASSWORD}")
    assert taken.attributes["service.name"] == "yolowatch"
    assert taken.attributes["service.version"] == __version__
    assert taken.attributes["host.name"] == os.uname().nodename
    found = taken.samples()
    run = service.run()["run"]
    assert found["yolowatch_run_batch_size", (("run", run),)] == 16.0
    assert found["yolowatch_otlp_pushes_total", ()] == 1.0
    assert found["yolowatch_otlp_push_failures_total", ()] == 1.0
    assert any(
        (name, dict(labels).get("edge")) == ("yolowatch_edge_heartbeat_timestamp_seconds", "otlp")
        for name, labels in found
    )
    until_soon(lambda: any("are taken by" in line for line in service.said))
    said = [line.strip() for line in service.said if receiver.host in line]
    assert said == [
        f"yolowatch: metrics cannot be pushed to {receiver.host}: it answers 503; "
        "yolowatch goes on trying",
        f"yolowatch: metrics are taken by {receiver.host} again",
    ]
    # What could not be pushed is refused, and what was in force stays.
    service.configure(f"otlp: {wanted.replace('headers}', 'gone}')}\n{mine('observe')}")
    until_soon(lambda: service.status()["config_trouble"])
    assert service.status()["config_trouble"] == (
        f"The headers_file {service.place}/gone cannot be read: No such file or directory."
    )
    assert PASSWORD not in "".join(service.said)


def test_what_cannot_be_pushed_is_refused_before_anything_begins(
    door: Door, tmp_path: Path
) -> None:
    path, headers = tmp_path / "y.yaml", tmp_path / "headers"
    path.write_text(f"otlp: {{endpoint: 'https://host:4318/v1', headers_file: {headers}}}")
    sentence = f"The headers_file {headers} cannot be read: No such file or directory."
    assert door.refuses(121, "daemon", "--config", path) == sentence
    assert sentence in door("doctor", "--cpu", "--config", path).stdout
    headers.write_text("X-Scope-OrgID: lab\n")
    assert "otlp https://host:4318/v1, " in door("check-config", path).stdout


def test_the_libraries_are_brought_only_where_something_is_pushed() -> None:
    program = (
        "import sys, yolowatch.daemon.service, yolowatch.commands.main; "
        "print(sorted(name for name in sys.modules if name.startswith(('google', 'opentel'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n"
