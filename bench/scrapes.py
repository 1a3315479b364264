"""Fifty that scrape at once while 64 hooks report: errors, and how long an answer takes.

    python bench/scrapes.py [--scrapers N] [--hooks N] [--seconds N] [--pause S] [--record]

A real `yolowatch daemon` observes processes that run the real hook with made-up statistics, each
near danger: ten windows a second. Every scraper asks again a moment after its answer, over a new
connection, as Prometheus' neighbours do. Run it with .venv/bin/python; as root it takes a mount
namespace of its own, so that no other daemon's socket is in the way.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.daemon_load import SETTLE_SECONDS, Load, cpu_seconds, resident_bytes  # noqa: E402
from bench.support import machine  # noqa: E402
from tests import environments  # noqa: E402

PATIENCE_SECONDS = 30.0


@dataclass
class Heard:
    """What all scrapers were told."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    bytes: int = 0


async def scrape(host: str, port: int) -> bytes:
    """One whole answer, read to the end of the connection."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        return await reader.read(-1)
    finally:
        writer.close()


async def scraper(url: str, until: float, pause: float, heard: Heard) -> None:
    """Ask again and again."""
    place = urlsplit(url)
    while time.monotonic() < until:
        began = time.perf_counter()
        try:
            asked = scrape(place.hostname or "", place.port or 0)
            answer = await asyncio.wait_for(asked, PATIENCE_SECONDS)
        except (OSError, TimeoutError, asyncio.TimeoutError) as error:
            heard.errors.append(type(error).__name__)
        else:
            heard.seconds.append(time.perf_counter() - began)
            heard.bytes = max(heard.bytes, len(answer))
            if not answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")):
                heard.errors.append(answer.split(b"\r\n", 1)[0].decode(errors="replace"))
            elif not whole(answer):
                heard.errors.append("an answer that is cut")
        await asyncio.sleep(pause)


def whole(answer: bytes) -> bool:
    """Whether as much came as was announced."""
    head, _, body = answer.partition(b"\r\n\r\n")
    announced = [
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    return body.endswith(b"\n") and (not announced or announced[0] == len(body))


async def all_at_once(url: str, number: int, seconds: float, pause: float) -> Heard:
    heard, until = Heard(), time.monotonic() + seconds
    await asyncio.gather(*(scraper(url, until, pause, heard) for _ in range(number)))
    return heard


def measure(load: Load, options: argparse.Namespace) -> dict[str, Any]:
    for number in range(options.hooks):
        load.start_synthetic(number, SETTLE_SECONDS + options.seconds + 20)
    time.sleep(SETTLE_SECONDS)
    used, began = cpu_seconds(load.daemon.pid), time.monotonic()
    heard = asyncio.run(all_at_once(load.url, options.scrapers, options.seconds, options.pause))
    took, cpu = time.monotonic() - began, cpu_seconds(load.daemon.pid) - used
    resident = resident_bytes(load.daemon.pid)
    told = load.end()
    cuts = statistics.quantiles(heard.seconds, n=1000, method="inclusive")
    return {
        "scrapers": options.scrapers,
        "pause_seconds": options.pause,
        "hooks": len(told),
        "seconds": took,
        "answers": len(heard.seconds),
        "errors": len(heard.errors),
        "kinds_of_errors": sorted(set(heard.errors)),
        "p50_seconds": cuts[499],
        "p99_seconds": cuts[989],
        "longest_seconds": max(heard.seconds),
        "page_bytes": heard.bytes,
        "cpu_percent": 100 * cpu / took,
        "resident_bytes": resident,
        "messages": sum(each["sent"] for each in told),
        "messages_dropped": sum(each["dropped"] for each in told),
    }


def page(document: Mapping[str, Any]) -> str:
    """The results for people."""
    found = document["found"]
    what = f"""Made by `python bench/scrapes.py`: {found["scrapers"]} scrapers at once for
        {found["seconds"]:.0f} s, each over a new connection {found["pause_seconds"]:g} s after its
        last answer, while {found["hooks"]} hooks report ten times a second. An answer has
        {found["page_bytes"] / 1e3:.0f} kB. Scrapers, hooks and daemon share the machine's cores.
        {document["remark"]}"""
    kinds = f" ({', '.join(found['kinds_of_errors'])})" if found["errors"] else ""
    rows = [
        ("errors", f"{found['errors']} of {found['answers']} answers{kinds}", "none"),
        ("answer, 99 of 100", f"{1e3 * found['p99_seconds']:.0f} ms", "under 250 ms"),
        ("answer, median", f"{1e3 * found['p50_seconds']:.0f} ms", ""),
        ("answer, longest", f"{1e3 * found['longest_seconds']:.0f} ms", ""),
        ("the daemon's time on the CPU", f"{found['cpu_percent']:.0f} % of one core", ""),
        ("the daemon's memory, at most", f"{found['resident_bytes'] / 1e6:.0f} MB", ""),
        ("messages lost by hooks", f"{found['messages_dropped']} of {found['messages']}", "none"),
    ]
    return machine.goals("Many scrapes at once", document, what, rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scrapers", type=int, default=50, metavar="N", help="default: 50")
    parser.add_argument("--hooks", type=int, default=64, metavar="N", help="default: 64")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="N", help="default: 60")
    parser.add_argument("--pause", type=float, default=1.0, metavar="S", help="default: 1")
    parser.add_argument("--remark", default="", help="a sentence for the record")
    parser.add_argument("--record", action="store_true", help="write bench/results/")
    options = parser.parse_args()
    machine.alone()
    python = environments.trainer_python("ultralytics")
    with tempfile.TemporaryDirectory(prefix="yolowatch-bench-") as name:
        described = machine.describe(python, {**os.environ, "YOLO_CONFIG_DIR": name})
        found = measure(Load(Path(name), python, profile=False), options)
    document = {"machine": described, "remark": options.remark, "found": found}
    text = page(document)
    print(text)
    if options.record:
        machine.record("scrapes", document, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
