"""What a measurement was made on, and where its record goes."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"
_VERSIONS = (
    "import json, platform, torch, ultralytics\n"
    "print(json.dumps({'python': platform.python_version(), 'torch': torch.__version__,"
    " 'ultralytics': ultralytics.__version__}))"
)


def alone() -> None:
    """As root go on in a mount namespace with a /run of its own: no other daemon's socket is there.

    This very command is executed anew there.
    """
    if os.geteuid() == 0 and "YOLOWATCH_BENCH_ALONE" not in os.environ:
        inside = 'mount -t tmpfs tmpfs /run && exec "$@"'
        os.environ["YOLOWATCH_BENCH_ALONE"] = "1"
        command = ["unshare", "-m", "sh", "-c", inside, "sh", sys.executable, *sys.argv]
        os.execvp(command[0], command)


def describe(trainer: str | Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The machine, as far as it says something of the figures, and the trainer's versions."""
    asked = subprocess.run(
        [trainer, "-c", _VERSIONS], env=environment, capture_output=True, text=True, check=True
    )
    return {**itself(), **json.loads(asked.stdout.splitlines()[-1])}


def itself() -> dict[str, Any]:
    """The machine alone, for what needs no trainer."""
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "supervisor_python": platform.python_version(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def sentence(machine: Mapping[str, Any]) -> str:
    """The description in one sentence."""
    return (
        f"{machine['date']}; {machine['cpu']}, {machine['cores']} cores; "
        f"Linux {machine['kernel']}; Python {machine['python']}, torch {machine['torch']}, "
        f"Ultralytics {machine['ultralytics']}; load average at the start "
        f"{machine['load_average'][0]}."
    )


def paragraph(text: str) -> str:
    """`text` as a paragraph of a page, filled."""
    return textwrap.fill(" ".join(text.split()), 100, break_on_hyphens=False) + "\n"


def goals(title: str, document: Mapping[str, Any], what: str, rows: Iterable[Sequence[str]]) -> str:
    """A page of figures, each with the goal that it is held against."""
    lines = [
        f"# {title}",
        "",
        paragraph(sentence(document["machine"])),
        paragraph(what),
        "| | measured | target |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def record(name: str, document: Mapping[str, Any], page: str) -> None:
    """Write NAME-DATE.json and NAME-DATE.md."""
    RESULTS.mkdir(exist_ok=True)
    base = RESULTS / f"{name}-{document['machine']['date']}"
    base.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    base.with_suffix(".md").write_text(page)
    say(f"recorded in {base}.json and .md")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
