"""What the daemon costs while 64 trainings and two more are near danger.

    python bench/daemon_load.py [--processes N] [--trainings N] [--seconds N]
                               [--profile] [--record]

A real `yolowatch daemon` observes processes that run the real hook, its agent and its socket with
made-up statistics, without torch, and two miniature trainings with torch (tests/faults/miniature)
under a limit that nearly bites. Each sends ten windows a second. Measured are the daemon's time on
the CPU, its memory, and the messages that were lost. Run it with .venv/bin/python; as root it
takes a mount namespace of its own, so that no other daemon's socket is in the way.
"""

from __future__ import annotations

import argparse
import json
import os
import pstats
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.support import machine  # noqa: E402
from tests import environments  # noqa: E402
from yolowatch.edges.stage import stage  # noqa: E402
from yolowatch.edges.statedir import service_socket_directory  # noqa: E402

SYNTHETIC = Path(__file__).with_name("programs") / "synthetic_hook.py"
MINIATURE = ROOT / "tests" / "faults" / "miniature" / "train.py"
LIMITING = ROOT / "tests" / "trainers" / "limiting_callbacks"
TARGETS = {"cpu_percent": 5.0, "resident_bytes": 80_000_000, "lost": 0}
CONFIGURATION = "mode: observe\nmetrics: 127.0.0.1:0\n"
SETTLE_SECONDS = 35.0  # a hook is heard more often while its connection is young
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_bytes(pid: int) -> int:
    """The most that it ever had in memory."""
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(line) * 1024


def scraped(url: str) -> dict[str, float]:
    """Metrics without labels, and sums over the labels of others."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for name, value in re.findall(r"^(\w+)(?:\{[^}]*\})? ([-+.\deE]+)$", text, re.M):
        found[name] = found.get(name, 0.0) + float(value)
    return found


class Load:
    """The daemon and its trainings, in one folder."""

    def __init__(self, folder: Path, python: Path, profile: bool) -> None:
        self.folder, self._python = folder, python
        (folder / "state").mkdir(mode=0o700)
        self.staged = stage(folder / "state").path
        (folder / "yolowatch.yaml").write_text(CONFIGURATION)
        self._environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "OMP_NUM_THREADS": "1"}
        self._environment |= environments.trainer_variables(folder)
        self._socket = service_socket_directory(self._environment) / "hook.sock"
        self._log = folder / "daemon.log"
        command = ["-m", "yolowatch", "daemon", "--config", folder / "yolowatch.yaml"]
        if profile:
            command = ["-m", "cProfile", "-o", folder / "profile", *command]
        with self._log.open("w") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, *command, "--state-dir", folder / "state"],
                cwd=ROOT, env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip
        self.url = self._said(r"metrics on (\S+)")
        self._said("watching")
        self.trainings: list[subprocess.Popen[str]] = []

    def _said(self, pattern: str) -> str:
        for _ in range(200):
            found = re.search(pattern, self._log.read_text())
            if found:
                return found.group(found.lastindex or 0)
            time.sleep(0.05)
        sys.exit(f"the daemon did not start:\n{self._log.read_text()}")

    def start(self, *command: object, site: Path | None = None, **variables: str) -> None:
        """One process with the hook."""
        paths = [str(self.staged), *([str(site)] if site else [])]
        environment = self._environment | {
            "PYTHONPATH": os.pathsep.join(paths),
            "YOLOWATCH_SOCKET": str(self._socket),
            **variables,
        }
        words = [str(each) for each in command]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.trainings.append(
            subprocess.Popen(words, cwd=self.folder, env=environment, text=True, **pipes)
        )

    def start_synthetic(self, number: int, seconds: float) -> None:
        run_dir = self.folder / f"run{number}"
        self.start(sys.executable, SYNTHETIC, number, run_dir, seconds)

    def start_miniature(self, name: str) -> None:
        """A small training with torch, whose limit leaves it a tenth of what a batch takes."""
        self.start(
            *(self._python, MINIATURE, "--epochs", "100000", "--images", "64", "--batch-size"),
            *("8", "--project", self.folder / "runs", "--name", name),
            site=LIMITING, PART="1.5", LIMIT_FILE=str(self.folder / f"{name}.limit"),
            FACTS=str(self.folder / f"{name}.facts"),
            MALLOC_ARENA_MAX="1", MALLOC_MMAP_THRESHOLD_="131072", MALLOC_TRIM_THRESHOLD_="131072",
        )  # fmt: skip

    def end(self) -> list[dict[str, Any]]:
        """What each synthetic process said at its end; the others are ended."""
        told = []
        for training in self.trainings:
            if str(SYNTHETIC) in training.args:
                told.append(json.loads(training.communicate(timeout=60)[0]))
            else:
                training.kill()
                training.communicate()
        self.daemon.terminate()
        self.daemon.wait(30)
        return told

    def kill(self) -> None:
        """Whatever happened, nothing of it goes on."""
        for each in (self.daemon, *self.trainings):
            each.kill()
            each.wait()


def measure(load: Load, processes: int, trainings: int, seconds: float) -> dict[str, Any]:
    """Start everything, let it settle, and watch the daemon for so many seconds."""
    whole = SETTLE_SECONDS + seconds + 10
    for number in range(trainings):
        load.start_miniature(f"miniature{number}")
    for number in range(processes):
        load.start_synthetic(number, whole)
    time.sleep(SETTLE_SECONDS)
    pid = load.daemon.pid
    before, began, used = scraped(load.url), time.monotonic(), cpu_seconds(pid)
    time.sleep(seconds)
    took, cpu = time.monotonic() - began, cpu_seconds(pid) - used
    after, resident = scraped(load.url), resident_bytes(pid)
    told = load.end()
    if len(told) != processes:
        sys.exit(f"{processes - len(told)} processes ended early")
    cycles = "yolowatch_cycle_duration_seconds_count"
    return {
        "processes": processes,
        "trainings": trainings,
        "seconds": took,
        "runs": after.get("yolowatch_run_info", 0.0),
        "cpu_percent": 100 * cpu / took,
        "resident_bytes": resident,
        "events_per_second": (after.get(cycles, 0.0) - before.get(cycles, 0.0)) / took,
        "sent": sum(each["sent"] for each in told),
        "lost": int(
            sum(each["dropped"] for each in told) + after.get("yolowatch_queue_dropped_total", 0.0)
        ),
    }


def page(document: Mapping[str, Any]) -> str:
    """The results for people."""
    found = document["found"]
    what = f"""Made by `python bench/daemon_load.py`: {found["processes"]} processes with the real
        hook, its agent and its socket, without torch, and {found["trainings"]} miniature trainings
        with torch, each near danger: ten windows a second. The daemon observes them for
        {found["seconds"]:.0f} s, at {found["events_per_second"]:.0f} events a second."""
    rows = [
        ("time on the CPU", f"{found['cpu_percent']:.1f} % of one core", "under 5 %"),
        ("memory, at most", f"{found['resident_bytes'] / 1e6:.0f} MB", "under 80 MB"),
        ("messages lost", f"{found['lost']} of {found['sent']}", "none"),
    ]
    return machine.goals("What the daemon costs", document, what, rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=64, metavar="N", help="default: 64")
    parser.add_argument("--trainings", type=int, default=2, metavar="N", help="default: 2")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="N", help="default: 60")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    options = parser.parse_args()
    machine.alone()
    python = environments.trainer_python("ultralytics")
    with tempfile.TemporaryDirectory(prefix="yolowatch-bench-") as name:
        folder = Path(name)
        described = machine.describe(python, {**os.environ, "YOLO_CONFIG_DIR": name})
        load = Load(folder, python, options.profile)
        try:
            found = measure(load, options.processes, options.trainings, options.seconds)
        finally:
            load.kill()
        if options.profile:
            pstats.Stats(str(folder / "profile")).sort_stats("tottime").print_stats(30)
    document = {"machine": described, "found": found, "targets": TARGETS}
    text = page(document)
    print(text)
    if options.record:
        machine.record("daemon_load", document, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
