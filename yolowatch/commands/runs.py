"""`yolowatch runs`: the runs that the journal knows, newest first."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from yolowatch.commands.base import print_json, print_table
from yolowatch.edges import statedir
from yolowatch.edges.journal import Journal
from yolowatch.model.printable import printable


class Runs:
    """Lists runs."""

    name = "runs"
    summary = "list the runs of the past, newest first"
    description = "List the runs that were supervised, newest first. `yolowatch show ID` says more."

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--state-dir", type=Path, metavar="DIR", help="where the journal is")
        parser.add_argument(
            "--last", type=_count, default=20, metavar="N", help="how many (default: 20)"
        )
        parser.add_argument("--json", action="store_true", help="print a JSON list")

    def run(self, arguments: argparse.Namespace) -> int:
        state = statedir.state_directory(arguments.state_dir, os.environ)
        with Journal(state / "journal.sqlite") as journal:
            records = journal.runs(arguments.last)
        if arguments.json:
            print_json([asdict(record) for record in records])
            return 0
        if not records:
            print("no runs yet; `yolowatch run -- COMMAND` makes one")
            return 0
        rows = [
            (
                record.id,
                datetime.fromtimestamp(record.began).strftime("%Y-%m-%d %H:%M"),
                printable(record.trainer or "-", 20),
                record.outcome or "running or killed",
                printable(record.run_dir or " ".join(record.command), 60),
            )
            for record in records
        ]
        print_table(("run", "began", "trainer", "outcome", "directory or command"), rows)
        return 0


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:19]) <= 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs")
    return int(text)
