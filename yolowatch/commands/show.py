"""`yolowatch show RUN`: what happened in one run, with its receipts."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from yolowatch.commands import pages
from yolowatch.commands.base import print_json
from yolowatch.edges import statedir
from yolowatch.edges.journal import Journal
from yolowatch.edges.story_files import StoryFiles
from yolowatch.model.printable import printable


class Show:
    """Shows one run."""

    name = "show"
    summary = "show one run: its attempts, incidents and receipts"
    description = (
        "Show one run: its attempts, incidents and receipts. RUN is an id or its beginning."
    )

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--state-dir", type=Path, metavar="DIR", help="where the journal is")
        parser.add_argument("--json", action="store_true", help="print a JSON object")
        parser.add_argument("id", metavar="RUN", help="the run's id, as `yolowatch runs` lists it")

    def run(self, arguments: argparse.Namespace) -> int:
        state = statedir.state_directory(arguments.state_dir, os.environ)
        kept = StoryFiles(state)
        with Journal(state / "journal.sqlite") as journal:
            run = journal.run(arguments.id)
            attempts = journal.attempts(run.id)
            incidents = journal.incidents(run.id)
            receipts = _newest(record.body for record in journal.receipts(run.id))
        if arguments.json:
            print_json(
                {
                    "run": asdict(run),
                    "attempts": [asdict(attempt) for attempt in attempts],
                    "incidents": [asdict(incident) for incident in incidents],
                    "receipts": receipts,
                }
            )
            return 0
        print(f"run {run.id}: {printable(' '.join(run.command))}")
        print(f"  in {printable(run.run_dir or run.cwd)}, mode {run.mode}")
        print(f"  {run.outcome or 'it runs, or its supervisor was killed'}")
        for attempt in attempts:
            ending = attempt.outcome or "running or unknown"
            epoch = "" if attempt.last_epoch is None else f", epochs up to {attempt.last_epoch + 1}"
            print(f"  attempt {attempt.number}: {ending}{epoch}")
        for incident in incidents:
            print(f"  incident {incident.id}: {printable(incident.sentence)}")
            print(f"    {printable(incident.outcome or 'open')}")
        for body in receipts:
            page = pages.kept_at(kept.page_of(body["incident"]))
            print(pages.receipt(body, sys.stdout) + page)
        return 0


def _newest(bodies: Any) -> list[dict[str, Any]]:
    """The last receipt of each incident: it is written again whenever more is known."""
    newest: dict[str, dict[str, Any]] = {}
    for body in bodies:
        newest[body["incident"]] = dict(body)
    return list(newest.values())
