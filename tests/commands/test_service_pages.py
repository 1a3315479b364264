"""What people see of a daemon in a browser and in their mailbox: a real process and messages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands.door import PUPPET, Door
from tests.commands.test_service import PATIENCE, Service, mine, service, until_soon
from tests.edges.test_notify import Receiver

__all__ = ["service"]

WORDS = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of "
    "which 512.00 MiB is free. Of the allocated memory 7.00 GiB is allocated by PyTorch, and "
    "100.00 MiB is reserved by PyTorch but unallocated. <script>alert(1)</script> token=s3cr3t-word"
)
# A hook that says what it trains and dies of a hostile failure, with a script in every text.
DYING = f"""
import os, socket, sys, time
from yolowatch_hook import wire
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
def tell(kind, **fields):
    s.send(wire.encode(kind, fields))
tell("hello", pid=os.getpid(), attempt=0, python="3", torch="2")
tell("run", trainer="ultralytics", train_calls=1, batch=16, accumulate=4, nbs=64, epochs=9,
     run_dir="/tmp/<script>alert(2)<script>", model="<img src=x onerror=alert(3)>", device="cuda:0")
while not os.path.exists(sys.argv[2]):
    time.sleep(0.05)
for step in range(1, 6):
    tell("sample", seconds=1.0, steps=1, phase="forward", epoch=0, step=step, batch=16,
         allocated_bytes=step << 30, allocated_max_bytes=step << 30, capacity_bytes=8 << 30)
    time.sleep(0.2)
tell("last_words", exception="torch.OutOfMemoryError", text={WORDS!r}, phase="backward",
     epoch=0, step=5, batch=16, frames=["<script>alert(4)</script>"], requested_bytes=2 << 30,
     allocated_bytes=7 << 30, capacity_bytes=8 << 30)
sys.exit(1)
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


def get(service: Service, path: str) -> tuple[int, str, str]:
    """Status, Content-Security-Policy and body of an answer of the daemon's."""
    until_soon(lambda: re.search("metrics on (http\\S+)/metrics", "".join(service.said)))
    found = re.search("metrics on (http\\S+)/metrics", "".join(service.said))
    assert found is not None
    try:
        with urllib.request.urlopen(found[1] + path, timeout=PATIENCE) as answer:
            policy = answer.headers.get("Content-Security-Policy") or ""
            return answer.status, policy, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, "", error.read().decode()


def test_an_incident_from_the_message_to_the_recovery(service: Service, receiver: Receiver) -> None:
    service.configure(
        "metrics: 127.0.0.1:0\n"
        f"notifications: {{urls: ['{receiver.url}'], group_seconds: 0}}\n" + mine("recommend")
    )
    service.start()
    until_soon(lambda: get(service, "/-/ready")[0] == 200)
    assert get(service, "/-/healthy")[::2] == (200, "healthy\n")
    assert "Nothing trains at this moment" in get(service, "/")[2]
    end = service.place / "end"
    service.train("--wait", str(end))
    waiting = service.until(lambda run: run["state"] == "waiting for approval")
    # On a slow machine the detectors may open incidents of their own meanwhile.
    (incident,) = (each["id"] for each in waiting["incidents"] if each["kind"] == "cpu-oom")

    def told() -> list[Any]:
        return [each for each in receiver.got if incident in each["message"]]

    until_soon(lambda: "A plan waits for you" in get(service, "/")[2])
    until_soon(lambda: (service.state / "incidents" / f"{incident}.html").exists())
    until_soon(lambda: "waits for your approval" in get(service, f"/incidents/{incident}")[2])
    status, policy, page = get(service, f"/incidents/{incident}")
    assert (status, "default-src 'none'" in policy) == (200, True)
    assert f"yolowatch approve {waiting['run']}" in page
    until_soon(told)
    assert told()[0]["type"] == "failure"
    assert f"yolowatch approve {waiting['run']}" in told()[0]["message"]

    service.ask("approve", waiting["run"])
    until_soon(lambda: len(told()) == 2)
    assert "recovered" in told()[1]["message"]
    assert told()[1]["type"] == "success"
    until_soon(lambda: "training again" in get(service, f"/incidents/{incident}")[2])
    page = get(service, f"/incidents/{incident}")[2]
    assert re.search(r'class="del">-batch: 16<', page)
    assert re.search(r'class="add">\+batch: \d+<', page)
    assert f"yolowatch rollback {waiting['run']}" in page
    end.touch()
    service.until(lambda run: run["state"] == "finished")
    until_soon(lambda: "healed" in get(service, f"/incidents/{incident}")[2])
    kept = (service.state / "incidents" / f"{incident}.html").read_text()
    assert "healed" in kept
    assert "all runs" not in kept  # a file has no server beside it
    assert (service.state / "incidents").stat().st_mode & 0o077 == 0

    service.kill()  # the next daemon shows it, and tells nobody again
    service.said.clear()
    service.start()
    assert "healed" in get(service, f"/incidents/{incident}")[2]
    assert incident in get(service, "/")[2]
    assert len(told()) == 2
    for path in ("/incidents/../journal.sqlite", "/incidents/ffffffff", "/incidents/", "/x"):
        assert get(service, path)[0] == 404


def test_a_hostile_training_is_shown_and_told_as_text(service: Service, receiver: Receiver) -> None:
    service.configure(
        "metrics: 127.0.0.1:0\nmode: observe\n"
        f"notifications: {{urls: ['{receiver.url}'], group_seconds: 0}}\n"
    )
    service.start()
    hold = service.place / "hold"
    subprocess.run(  # an orphan, as a user's shell leaves it: nobody but init hears of its end
        [*("setsid", "--fork", sys.executable, "-c", DYING, service.sockets / "hook.sock"), hold],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(service.place / "site")},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    service.until(lambda run: run["hook"])
    hold.touch()
    failed = service.until(lambda run: run["incidents"])
    incident = failed["incidents"][-1]["id"]
    page = service.state / "incidents" / f"{incident}.html"
    until_soon(page.exists)
    until_soon(lambda: receiver.got)
    texts = (page.read_text(), get(service, "/")[2], get(service, f"/incidents/{incident}")[2])
    for text in texts:
        assert "<script" not in text
        assert "<img" not in text
        assert "s3cr3t-word" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in texts[0]
    assert '<path class="line"' in texts[0]
    assert "s3cr3t-word" not in json.dumps(receiver.got)
    assert all(each.isprintable() for each in receiver.got[0]["message"].split("\n"))


def test_a_bad_url_or_certificate_is_one_sentence_and_nothing_is_started(
    service: Service,
) -> None:
    program = [sys.executable, "-m", "yolowatch", "daemon", "--config", str(service.config)]
    program += ["--state-dir", str(service.state), "--socket-dir", str(service.sockets)]
    web = service.place / "web.yaml"
    web.write_text("tls_server_config: {cert_file: none.pem, key_file: none.pem}")
    for text, said in (
        ("notifications: {urls: ['s3cr3t-word']}", "number 1 of urls is none"),
        (f"metrics: 127.0.0.1:0\nweb_config: {web}", "none.pem cannot be loaded"),
        ("notifications: {url: []}", "did you mean 'urls'?"),
    ):
        service.configure(text)
        done = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE)
        assert (done.returncode, done.stderr.count("\n")) == (121, 1), done
        assert said in done.stderr
        assert "s3cr3t-word" not in done.stderr


def test_a_run_keeps_its_pages_too(door: Door) -> None:
    done = door("run", "--", *PUPPET, door.home / "run")
    assert done.returncode == 0, done.stderr
    found = re.search(r"^page +(\S+\.html)$", done.stderr, re.M)
    assert found is not None, done.stderr
    page = Path(found[1])
    assert page.parent == door.state / "incidents"
    text = page.read_text()
    assert '<span class="pill good">healed</span>' in text
    assert re.search(r'class="del">-batch: 16<', text)
    assert found[0] in door("show", door.last_run().id).stdout
