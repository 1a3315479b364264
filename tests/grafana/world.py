"""A box as Grafana sees it: a real daemon, real hooks, real memory failures, a real Prometheus.

    python -m tests.grafana.world [--played]

says where Prometheus listens, and stays until the end of its input.

One training is real (the miniature of tests/faults, on the CPU, which runs out of memory and is
healed). The others are played by programs/train.py at the size of real ones, and the GPUs by the
stand-in for NVIDIA's library, which is told every second what they hold: no machine of the tests
has a GPU.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests import environments
from tests.faults.scene import Miniature
from tests.faults.service import Service, until

GIB = 1 << 30
PLAYED = Path(__file__).with_name("programs") / "train.py"
STAND_IN = Path(__file__).parents[1] / "edges" / "nvml_stand_in.c"
CONFIGURATION = f"""
mode: auto
metrics: 127.0.0.1:0
attach: preloaded
others_grace_seconds: 0
users:
  - uid: {os.geteuid()}
    mode: auto
"""
SCRAPE_SECONDS = 2
XID_AFTER_SECONDS = 20.0
POWER_CAP = 4  # of the driver's reasons to lower the clocks
LONG = ("--epochs", "400")
TRAININGS = {
    "healthy": ("--device", "cuda:0", "--image-gib", "0.25", "--model", "yolov5s.pt", *LONG),
    "tight": ("--device", "cuda:1", "--image-gib", "0.29", "--model", "yolov5l.pt", *LONG),
    "healed": ("--device", "cuda:2", "--image-gib", "0.38", "--fail", "3:oom", *LONG),
    "broken": ("--device", "cuda:3", "--image-gib", "0.3", "--fail", "2:error"),
    "hopeless": ("--device", "cuda:3", "--image-gib", "0.35", "--fail", "2:always"),
}
"""The trainings that are played, by name."""
GROUPED = "tight"  # the one that runs in a control group of its own


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def limited_group(name: str) -> Path | None:
    """A control group with a limit on its memory, below this process's own; None without rights."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            group = Path("/sys/fs/cgroup/memory", path.lstrip("/"), name)
            try:
                group.mkdir()
                (group / "memory.limit_in_bytes").write_text(str(8 * GIB))
            except OSError:
                return None
            return group
    return None


class World:
    """Everything that runs; `close` ends it."""

    def __init__(self, root: Path, real: bool = True) -> None:
        """With `real` one of the trainings is a real one."""
        self.root, self._real = root, real
        self._began = time.monotonic()
        python = environments.trainer_python("ultralytics")
        self._scene = Miniature(root, python, root / "data.yaml")
        self.prometheus = f"http://127.0.0.1:{free_port()}"
        self._gpus = root / "gpus"
        self._gpus.write_text("count=4\n")
        library = root / "library"
        library.mkdir()
        built = ["gcc", "-shared", "-fPIC", "-o", library / "libnvidia-ml.so.1", STAND_IN]
        subprocess.run(built, check=True)
        self.service = Service(self._scene)
        self.service.configure(CONFIGURATION)
        self.service._environment |= {
            "LD_LIBRARY_PATH": str(library),
            "NVML_STAND_IN": str(self._gpus),
        }
        self.group = limited_group(f"yolowatch-world-{os.getpid()}")
        self._over = threading.Event()
        self._driver = threading.Thread(target=self._play_the_driver, daemon=True)
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._driver.start()
        self.service.start()
        self._start_prometheus()
        until(lambda: self.ask("up == 1"), "the daemon is scraped")
        if self._real:
            self.service.train("--epochs", "12")
        for name, words in TRAININGS.items():
            self._play(name, words)

    def ask(self, query: str) -> list[dict[str, Any]]:
        """What an expression gives now; none while Prometheus is not there yet."""
        try:
            return self._get("query", {"query": query})["result"]
        except OSError:
            return []

    def ask_range(self, query: str, start: float, end: float) -> list[dict[str, Any]]:
        """What an expression gave, at each scrape."""
        words = {"query": query, "start": str(start), "end": str(end), "step": str(SCRAPE_SECONDS)}
        return self._get("query_range", words)["result"]

    def _get(self, what: str, words: Mapping[str, str]) -> Any:
        url = f"{self.prometheus}/api/v1/{what}?{urllib.parse.urlencode(words)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                raise  # it is starting
            told = json.load(error)
        assert told["status"] == "success", f"{words['query']}: {told['error']}"
        return told["data"]

    def _play(self, name: str, words: tuple[str, ...]) -> None:
        """Start a played training as from a prompt that is gone."""
        environment = self.service.hooked()
        environment["PYTHONPATH"] = str(self.service._stage)
        run = ("--project", str(self.root / "played"), "--name", name, *words)
        enter = f"echo $$ > {self.group}/cgroup.procs; " if name == GROUPED and self.group else ""
        leave = f'{enter}cd "$0" && setsid "$@" > {name}.log 2>&1 < /dev/null &'
        command = ("sh", "-c", leave, str(self.root), sys.executable, str(PLAYED), *run)
        subprocess.run((*self.service.inside, *command), env=environment, check=True)

    def _start_prometheus(self) -> None:
        found = re.search(r"metrics on http://([\d.:]+)/", self.service.log)
        assert found is not None, self.service.log
        configuration = {
            "global": {"scrape_interval": f"{SCRAPE_SECONDS}s"},
            "scrape_configs": [
                {"job_name": "yolowatch", "static_configs": [{"targets": [found.group(1)]}]}
            ],
        }
        path = self.root / "prometheus.yml"
        path.write_text(json.dumps(configuration))  # JSON is YAML
        with (self.root / "prometheus.log").open("w") as log:
            self._server = subprocess.Popen(
                (
                    environments.debian_tool("prometheus", "prometheus"),
                    f"--config.file={path}",
                    f"--storage.tsdb.path={self.root / 'prometheus'}",
                    f"--web.listen-address={self.prometheus.removeprefix('http://')}",
                ),
                stdout=log,
                stderr=log,
            )

    def _play_the_driver(self) -> None:
        while not self._over.wait(0.5):
            self._write_gpus()

    def _write_gpus(self) -> None:
        """What the stand-in says from now on: four GPUs, and who holds what of them."""
        held: dict[int, list[tuple[int, int]]] = {number: [] for number in range(4)}
        for name, words in TRAININGS.items():
            try:
                pid, used = (self.root / "played" / name / "held").read_text().split()
                os.kill(int(pid), 0)
            except (OSError, ValueError):
                continue  # not begun yet, or ended
            held[int(words[1][-1])].append((int(pid), int(used)))
        held[0].append((os.getpid(), GIB))  # somebody else on the GPU
        lines = ["count=4"]
        if time.monotonic() - self._began > XID_AFTER_SECONDS:
            lines.append("xid=31@1#1")
        for number, processes in held.items():
            busy = 0.93 if processes else 0.0
            told = {
                "total": 24 * GIB,
                "used": sum(used for _, used in processes),
                "reserved": GIB // 3,
                "util": int(100 * busy),
                "temp": int(38 + 35 * busy + number),
                "mw": int(62_000 + 220_000 * busy),
                "mwlimit": 300_000,
                "ecc": f"{number}:0",
                "reasons": POWER_CAP if number == 1 and processes else 0,
                "procs": ",".join(f"{pid}:{used}" for pid, used in processes),
            }
            lines += [f"{number}.{name}={value}" for name, value in told.items()]
        unfinished = self._gpus.with_suffix(".new")
        unfinished.write_text("\n".join(lines) + "\n")
        unfinished.replace(self._gpus)

    def close(self) -> None:
        self._over.set()
        for path in self.root.glob("played/*/held"):
            try:
                os.kill(int(path.read_text().split()[0]), signal.SIGKILL)
            except OSError:
                pass  # it has ended
        self.service.close()
        if self.group is not None:
            until(self._group_is_gone, "the control group empties")
        if self._server is not None:
            self._server.terminate()
            self._server.wait(30)

    def _group_is_gone(self) -> bool:
        assert self.group is not None
        try:
            self.group.rmdir()
        except OSError:
            return False
        return True


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="yolowatch-world-") as folder:
        world = World(Path(folder), real="--played" not in sys.argv)
        try:
            began = time.time()
            world.start()
            print(json.dumps({"prometheus": world.prometheus, "began": began}), flush=True)
            sys.stdin.read()
            print(world.service.log, file=sys.stderr)
        finally:
            world.close()


if __name__ == "__main__":
    main()
