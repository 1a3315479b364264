"""Has the dashboards drawn with Grafana's own components: `make dashboards-render`.

    python -m tests.grafana.pictures [--played] [--seconds N] [--out FOLDER]

Starts the world, lets things happen in it, and hands what Prometheus knows to grafana/render, which
fails on a panel without data and on an error in the browser's console. It is for the eye: it needs
node and Chromium, and packages of 460 MB, so it is no test and CI does not run it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.grafana.test_queries import run_id, wait_for_what_happens
from tests.grafana.world import SCRAPE_SECONDS, World

ROOT = Path(__file__).resolve().parents[2]


def drawn(world: World, began: float, out: Path) -> int:
    """The exit status of the renderer."""
    now = time.time() - SCRAPE_SECONDS
    values = {
        "instance": ".*",
        "rank": "0",
        "run": run_id(world, "healed"),
        "gpu": "1",
        "__rate_interval": f"{4 * SCRAPE_SECONDS}s",
        "__range": f"{int(now - began)}s",
    }
    given = {
        "prometheus": world.prometheus,
        "from": int(began),
        "to": int(now),
        "step": SCRAPE_SECONDS,
        "values": values,
        "out": str(out),
        "boards": [{"name": each, "mode": "dark"} for each in ("fleet", "run", "gpu", "daemon")],
    }
    command = ["node", ROOT / "grafana" / "render" / "render.mjs", json.dumps(given)]
    return subprocess.run(command, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--played", action="store_true", help="without the real training")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it then goes on")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "dashboards")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="yolowatch-world-") as folder:
        world, began = World(Path(folder), real=not options.played), time.time()
        try:
            world.start()
            wait_for_what_happens(world, healed=1 if options.played else 2)
            time.sleep(options.seconds)
            return drawn(world, began, options.out)
        finally:
            world.close()


if __name__ == "__main__":
    sys.exit(main())
