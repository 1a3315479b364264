"""A real Prometheus with the shipped rules, a real Alertmanager with the shipped routes, and a
receiver of what they send.

Only waiting times are shortened, and the receivers' addresses filled in.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests import environments
from tests.faults.service import until

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "grafana" / "rules"
ALERTMANAGER = ROOT / "grafana" / "alertmanager.yml"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Message:
    """One alert as it arrived at `receiver`; `status` is firing or resolved."""

    receiver: str
    alert: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass
class Receiver:
    """A web server that keeps what Alertmanager's webhooks bring."""

    messages: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in body["alerts"]:
                    receiver.messages.append(
                        Message(
                            self.path.strip("/"),
                            alert["labels"]["alertname"],
                            alert["status"],
                            alert["labels"],
                            alert["annotations"],
                        )
                    )
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def got(self, receiver: str, alert: str, status: str = "firing") -> list[Message]:
        wanted = (receiver, alert, status)
        return [
            each for each in self.messages if (each.receiver, each.alert, each.status) == wanted
        ]


@dataclass
class Alerting:
    """What watches a daemon whose metrics page is at `target`."""

    folder: Path
    target: str
    receiver: Receiver
    prometheus: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The answer of Prometheus at this moment."""
        words = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(
            f"{self.prometheus}/api/v1/query?{words}", timeout=10
        ) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


@contextmanager
def alerting(folder: Path, target: str) -> Iterator[Alerting]:
    """Both programs, ready, with nothing scraped yet."""
    receiver = Receiver()
    ports = free_port(), free_port()
    routes = ALERTMANAGER.read_text().replace("127.0.0.1:9095", f"127.0.0.1:{receiver.port}")
    routes = re.sub(r"group_wait: \d+s", "group_wait: 1s", routes)
    routes = routes.replace("group_interval: 5m", "group_interval: 1s")
    (folder / "alertmanager.yml").write_text(routes)
    (folder / "prometheus.yml").write_text(
        f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ['{RULES}/*.yml']
alerting:
  alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{ports[1]}']}}]}}]
scrape_configs:
  - job_name: yolowatch
    static_configs: [{{targets: ['{target}']}}]
"""
    )
    commands = (
        (
            environments.debian_tool("prometheus", "prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{ports[0]}",
        ),
        (
            *alertmanager(),
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{ports[1]}",
            "--cluster.listen-address=",
        ),
    )
    with (folder / "alerting.log").open("w") as log:
        programs = [subprocess.Popen(each, stdout=log, stderr=log) for each in commands]
    try:
        for port in ports:
            until(lambda port=port: _ready(port), f"port {port} is ready")
        yield Alerting(folder, target, receiver, f"http://127.0.0.1:{ports[0]}")
    finally:
        for program in programs:
            program.kill()
            program.wait()
        receiver.close()


def alertmanager() -> tuple[str | Path, ...]:
    """The program. Debian's looks for its templates in one place: where it is only unpacked, it
    gets a /usr/share of its own that has them.
    """
    program = environments.debian_tool("prometheus-alertmanager", "prometheus-alertmanager")
    if Path("/usr/share/prometheus/alertmanager/default.tmpl").exists():
        return (program,)
    templates = program.parents[2] / "usr" / "share" / "prometheus"
    script = 'mount -t tmpfs none /usr/share && ln -s "$0" /usr/share/prometheus && exec "$@"'
    alone = "-m" if os.geteuid() == 0 else "-rm"
    return ("unshare", alone, "sh", "-c", script, templates, program)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
