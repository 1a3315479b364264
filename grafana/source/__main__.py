"""`python -m grafana.source` writes the dashboards' files anew."""

from __future__ import annotations

from pathlib import Path

from grafana.source import daemon, fleet, gpu, run
from grafana.source.boards import text_of

BOARDS = {
    "fleet": fleet.dashboard,
    "run": run.dashboard,
    "gpu": gpu.dashboard,
    "daemon": daemon.dashboard,
}
FOLDER = Path(__file__).resolve().parents[1] / "dashboards"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, made in BOARDS.items():
        (FOLDER / f"{name}.json").write_text(text_of(made()))


if __name__ == "__main__":
    main()
