"""What the doctor finds on a real machine: each problem is planted, with real sockets and disks."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from yolowatch.edges import examining, scraping
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.installing import install
from yolowatch.model.diagnosis import Door

ROOT = os.geteuid() == 0
CLOCK = SystemClock()
# A filter of system calls, as containers have one: ptrace gets EPERM. (load, jump, allow, refuse.)
REFUSE_PTRACE = """
import ctypes, struct, platform
NUMBER = {"x86_64": 101, "aarch64": 117}[platform.machine()]
code = struct.pack("HBBIHBBIHBBIHBBI", 0x20, 0, 0, 0, 0x15, 0, 1, NUMBER,
                   0x06, 0, 0, 0x00050001, 0x06, 0, 0, 0x7FFF0000)
text = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(text)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
"""


def test_a_socket_is_looked_at_without_a_knock(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    assert examining.door(path) is Door.ABSENT
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(path))
        assert examining.door(path) is Door.DEAD
        listening.listen()
        listening.setblocking(False)
        assert examining.door(path) is Door.LISTENS
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert examining.door(path) is Door.DEAD
    path.unlink()
    path.touch()
    assert examining.door(path) is Door.DEAD
    assert examining.door(path, tmp_path / "no table") is Door.DEAD


def test_ptrace_is_tried() -> None:
    assert examining.ptrace_trouble(CLOCK) is None


def test_ptrace_that_is_refused_is_seen() -> None:
    program = (
        f"{REFUSE_PTRACE}\nfrom yolowatch.edges import examining\n"
        "from yolowatch.edges.clock import SystemClock\n"
        "print(examining.ptrace_trouble(SystemClock()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "Operation not permitted\n", done.stderr


def test_the_bound_of_yama(tmp_path: Path) -> None:
    assert examining.ptrace_scope(tmp_path / "none") is None
    (tmp_path / "scope").write_text("2\n")
    assert examining.ptrace_scope(tmp_path / "scope") == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    if not ROOT:
        pytest.skip("needs root, to mount")
    libc = ctypes.CDLL(None, use_errno=True)
    place = tmp_path / "disk"
    place.mkdir()
    assert libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=64k") == 0
    yield place
    assert libc.umount2(os.fsencode(place), 2) == 0


def test_a_full_disk(small_disk: Path) -> None:
    found = examining.directory(small_disk, "run", owner=None, least_bytes=1 << 20)
    assert found.free_bytes is not None
    assert found.free_bytes < found.least_bytes


@pytest.mark.skipif(not ROOT, reason="needs root, to give a directory away")
def test_whose_a_run_directory_is(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / ".yolowatch").mkdir(parents=True)
    os.chown(run, 1, 1)
    first, vault = examining.run_directories(run, owner=None, least_bytes=0, wanted_bytes=0)
    assert (first.owner, first.expected_owner) == ("daemon", None)
    assert (vault.owner, vault.expected_owner) == ("root", "daemon")
    gone = examining.directory(tmp_path / "gone", "run", owner=None, least_bytes=0)
    assert gone.exists is False


def test_the_hook_of_an_environment(tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    assert examining.hook(environment).installed is False
    packages = install(environment)
    assert examining.hook(environment).installed is True
    line = packages / "yolowatch_start.pth"
    line.write_text(line.read_text()[:-8] + '0000")\n')  # that of another version
    assert examining.hook(environment).installed is False
    assert "is no Python" in str(examining.hook(tmp_path / "nowhere").trouble)


class _Prometheus(BaseHTTPRequestHandler):
    body = b""
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def answering() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Prometheus)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def targets(url: str, health: str) -> bytes:
    target = {"scrapeUrl": url, "health": health}
    return json.dumps({"status": "success", "data": {"activeTargets": [target]}}).encode()


def test_a_page_and_a_prometheus_are_asked(answering: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scraping.trouble_of_page(answering, encrypted=False) is None
    assert scraping.trouble_of_page(answering, encrypted=True) is not None
    asked = f"http://{answering}/"
    for body, expected in (
        (targets("http://box:9466/metrics", "up"), (None, True)),
        (targets("http://box:9466/metrics", "down"), (None, False)),
        (targets("http://box:9100/metrics", "up"), (None, False)),
        (b"{}", ("what answers is no Prometheus", None)),
        (b"hello", ("what answers is no Prometheus", None)),
    ):
        monkeypatch.setattr(_Prometheus, "body", body)
        assert scraping.is_scraped(asked, "127.0.0.1:9466") == expected
    monkeypatch.setattr(_Prometheus, "status", 503)
    assert scraping.trouble_of_page(answering, encrypted=False) == "it answers 503"
    assert scraping.is_scraped(asked, None) == ("it answers 503", None)
    monkeypatch.setattr(_Prometheus, "status", 401)
    assert scraping.trouble_of_page(answering, encrypted=False) is None


def test_nobody_there_is_a_reason() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        assert scraping.trouble_of_page(address, encrypted=False) == "Connection refused"
        assert scraping.is_scraped(f"http://{address}", None) == ("Connection refused", None)
    assert scraping.is_scraped("file:///etc/passwd", None)[1] is None
