"""What yolowatch's exporter costs beside nvitop-exporter, on 8 GPUs with 64 processes.

    python bench/exporter_cost.py [--seconds N] [--scrapes N] [--record]

A stand-in for NVIDIA's library plays the GPUs; the processes on them exist and sleep. Both
exporters run at once and are scraped alike: every 15 s while their time on the CPU is measured,
then in turn for the times of a scrape. What the driver itself takes for its answers is in neither
figure. Run it with .venv/bin/python; as root it takes a mount namespace of its own, so that no
other daemon's socket is in the way.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.daemon_load import cpu_seconds, resident_bytes  # noqa: E402
from bench.support import machine  # noqa: E402
from tests import environments  # noqa: E402

STAND_IN = Path(__file__).with_name("programs") / "nvml_of_many.c"
NVITOP = ("nvitop-exporter==1.7.2",)
PROCESSES = 64
EVERY_SECONDS = 15.0
# Both make their figures anew within this; a scrape of kept ones would measure nothing.
BETWEEN_SECONDS = 1.2
MORE_BYTES = 20_000_000


@dataclass
class Exporter:
    """A process that is scraped."""

    name: str
    process: subprocess.Popen[bytes]
    url: str

    def scrape(self) -> tuple[float, int, int]:
        """Seconds, series, and those of them that are no number."""
        began = time.perf_counter()
        with urllib.request.urlopen(self.url, timeout=30) as answer:
            text = answer.read().decode()
        took = time.perf_counter() - began
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        return took, len(lines), sum(line.endswith(" NaN") for line in lines)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def driver(folder: Path, pids: list[int]) -> dict[str, str]:
    """The environment of a process that sees the GPUs and these processes on them."""
    library = folder / "library"
    library.mkdir()
    target = library / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", target, STAND_IN], check=True)
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(library),
        "NVML_PIDS": ",".join(map(str, pids)),
        "XDG_RUNTIME_DIR": str(folder),
    }


def start_yolowatch(folder: Path, environment: Mapping[str, str]) -> Exporter:
    configuration = folder / "yolowatch.yaml"
    configuration.write_text("mode: observe\nmetrics: 127.0.0.1:0\n")
    log = folder / "yolowatch.log"
    command = ["-m", "yolowatch", "daemon", "--config", configuration, "--state-dir"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *command, folder / "state"],
            cwd=ROOT, env=dict(environment), stdout=output, stderr=output,
        )  # fmt: skip
    for _ in range(600):
        found = re.search(r"metrics on (\S+)", log.read_text())
        if found:
            return ready(Exporter("yolowatch", process, found.group(1)), log)
        time.sleep(0.05)
    sys.exit(f"the daemon did not start:\n{log.read_text()}")


def start_nvitop(folder: Path, environment: Mapping[str, str]) -> Exporter:
    python = environments.python_with("nvitop-exporter", NVITOP)
    port, log = free_port(), folder / "nvitop.log"
    command = [python, "-m", "nvitop_exporter", "--bind-address", "127.0.0.1", "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=dict(environment), stdout=output, stderr=output)
    return ready(Exporter("nvitop-exporter", process, f"http://127.0.0.1:{port}/metrics"), log)


def ready(exporter: Exporter, log: Path) -> Exporter:
    """The exporter, once it tells of the GPUs."""
    for _ in range(600):
        if exporter.process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            if exporter.scrape()[1] > PROCESSES:
                return exporter
        time.sleep(0.1)
    sys.exit(f"{exporter.name} does not tell of the GPUs:\n{log.read_text()}")


@contextlib.contextmanager
def exporters(folder: Path) -> Iterator[tuple[Exporter, ...]]:
    sleeping = [subprocess.Popen(["sleep", "3600"]) for _ in range(PROCESSES)]
    found: list[Exporter] = []
    try:
        environment = driver(folder, [each.pid for each in sleeping])
        found.append(start_yolowatch(folder, environment))
        found.append(start_nvitop(folder, environment))
        yield tuple(found)
    finally:
        for process in (*(each.process for each in found), *sleeping):
            process.terminate()
            process.wait(30)


def percentile(values: list[float], part: float) -> float:
    return statistics.quantiles(values, n=1000, method="inclusive")[round(1000 * part) - 1]


def measure(both: tuple[Exporter, ...], seconds: float, scrapes: int) -> list[dict[str, Any]]:
    """What each of them took."""
    time.sleep(5)  # both have read everything once
    began = time.monotonic()
    before = [cpu_seconds(each.process.pid) for each in both]
    while time.monotonic() - began < seconds:
        for each in both:
            each.scrape()
        time.sleep(EVERY_SECONDS)
    minutes = (time.monotonic() - began) / 60
    used = [cpu_seconds(each.process.pid) - at for each, at in zip(both, before, strict=True)]
    times: dict[str, list[float]] = {each.name: [] for each in both}
    for number in range(scrapes):
        for each in both if number % 2 else reversed(both):
            times[each.name].append(each.scrape()[0])
        time.sleep(BETWEEN_SECONDS)
    found = []
    for each, cpu in zip(both, used, strict=True):
        _, series, unknown = each.scrape()
        found.append(
            {
                "name": each.name,
                "cpu_seconds_per_minute": cpu / minutes,
                "scrape_p50_seconds": statistics.median(times[each.name]),
                "scrape_p99_seconds": percentile(times[each.name], 0.99),
                "resident_bytes": resident_bytes(each.process.pid),
                "series": series,
                "not_a_number": unknown,
            }
        )
    return found


def page(document: Mapping[str, Any]) -> str:
    """The results for people."""
    own, other = document["found"]
    half = "half or less"

    def row(title: str, key: str, scale: float, unit: str, target: str) -> str:
        values = [
            f"{each[key] * scale:.{2 if scale < 1000 else 1}f} {unit}" for each in (own, other)
        ]
        ratio = own[key] / other[key]
        return f"| {title} | {values[0]} | {values[1]} | {ratio:.2f} | {target} |"

    what = f"""Made by `python bench/exporter_cost.py`: 8 GPUs played by a stand-in for NVIDIA's
        library, whose calls take no time, {PROCESSES} processes on them, both exporters at once.
        Time on the CPU over {document["seconds"]:.0f} s with a scrape every 15 s; times of
        {document["scrapes"]} scrapes of each, in turn. {document["remark"]}"""
    more = (own["resident_bytes"] - other["resident_bytes"]) / 1e6
    lines = [
        "# What the exporter costs",
        "",
        machine.paragraph(machine.sentence(document["machine"])),
        machine.paragraph(what),
        "| | yolowatch | nvitop-exporter | ratio | target |",
        "|---|---|---|---|---|",
        row("time on the CPU, a minute", "cpu_seconds_per_minute", 1, "s", half),
        row("scrape, median", "scrape_p50_seconds", 1000, "ms", half),
        row("scrape, 99 of 100", "scrape_p99_seconds", 1000, "ms", half),
        row("memory, at most", "resident_bytes", 1e-6, "MB", "20 MB more at most"),
        row("series", "series", 1, "", "–").replace(".00", ""),
        f"| of them NaN | {own['not_a_number']} | {other['not_a_number']} | | none |",
        "",
        f"In memory yolowatch takes {abs(more):.0f} MB {'more' if more > 0 else 'less'}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120.0, metavar="N", help="default: 120")
    parser.add_argument("--scrapes", type=int, default=100, metavar="N", help="default: 100")
    parser.add_argument("--remark", default="", help="a sentence for the record")
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    options = parser.parse_args()
    machine.alone()
    python = environments.trainer_python("ultralytics")
    with tempfile.TemporaryDirectory(prefix="yolowatch-bench-") as name:
        described = machine.describe(python, {**os.environ, "YOLO_CONFIG_DIR": name})
        with exporters(Path(name)) as both:
            found = measure(both, options.seconds, options.scrapes)
    document = {
        "machine": described,
        "seconds": options.seconds,
        "scrapes": options.scrapes,
        "remark": options.remark,
        "found": found,
    }
    text = page(document)
    print(text)
    if options.record:
        machine.record("exporter_cost", document, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
