"""`yolowatch status [RUN]`: what the daemon watches at this moment."""

from __future__ import annotations

import argparse
import sys

from yolowatch.commands import asking, pages, status_page
from yolowatch.commands.base import print_json, print_table
from yolowatch.edges.control_client import ask


class Status:
    """Prints the service's runs, or one of them."""

    name = "status"
    summary = "show what the daemon watches: GPUs, runs, plans that wait"
    description = """\
Show what the running daemon watches. Without RUN all runs that you may see: yours, or everyone's
for root and the members of the control group. With RUN all about that one, receipts included."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        asking.add_socket(parser)
        parser.add_argument("--json", action="store_true", help="print a JSON object")
        parser.add_argument("run", metavar="RUN", nargs="?", help="a run's id or its beginning")

    def run(self, arguments: argparse.Namespace) -> int:
        answer = ask("status", {"run": arguments.run}, asking.socket_of(arguments))
        if arguments.json:
            print_json(answer)
            return 0
        if arguments.run is not None:
            found = asking.run(answer)
            print(status_page.one(found))
            for receipt in found.receipts:
                print(pages.receipt(receipt, sys.stdout))
            return 0
        view = asking.fleet(answer)
        for line in status_page.head(view):
            print(line)
        if not view.runs:
            print("no trainings of yours are watched")
            return 0
        print()
        print_table(status_page.HEADER, [status_page.row(run) for run in view.runs])
        waiting = [run.run for run in view.runs if run.plan is not None]
        if waiting:
            print(f"\nwaiting for approval: {', '.join(waiting)}; `yolowatch status RUN` says more")
        return 0
