"""`yolowatch approve`, `pause`, `resume` and `rollback`: one request each, and what was said to it.

They stand in one file because they are one command with four words; the daemon knows what they mean
and who may say them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from yolowatch.commands import asking
from yolowatch.commands.base import print_json
from yolowatch.edges.control_client import ask
from yolowatch.model.printable import printable


@dataclass
class Verb:
    """A verb of the control socket that is about a run, or about all where `all_runs` says so."""

    name: str
    summary: str
    description: str
    all_runs: bool = False

    def configure(self, parser: argparse.ArgumentParser) -> None:
        asking.add_socket(parser)
        parser.add_argument("--json", action="store_true", help="print a JSON object")
        if self.name == "approve":
            parser.add_argument(
                "--plan", metavar="PLAN", help="this plan only, and no later one of the run"
            )
        many = "?" if self.all_runs else None
        parser.add_argument("run", metavar="RUN", nargs=many, help="a run's id or its beginning")

    def run(self, arguments: argparse.Namespace) -> int:
        words = {"run": arguments.run, "plan": getattr(arguments, "plan", None)}
        answer = ask(self.name, words, asking.socket_of(arguments))
        if arguments.json:
            print_json(answer)
        else:
            print(printable(str(answer.get("said", "done")), 2000))
        return 0


VERBS = (
    Verb(
        "approve",
        "carry out a plan that waits for approval",
        "Carry out the plan of RUN that waits for approval. `yolowatch status RUN` shows it.",
    ),
    Verb(
        "pause",
        "observe, and act on nothing until resume",
        "Pause RUN, or everything: it is observed, and no plan is carried out until `yolowatch "
        "resume`.\nA step that is under way is brought to its end. All runs are paused only by "
        "root, the\ncontrol group, or whoever started the daemon.",
        all_runs=True,
    ),
    Verb(
        "resume",
        "let the daemon act again after pause",
        "End the pause of RUN, or of everything. A run that was paused by itself stays so until it "
        "is named.",
        all_runs=True,
    ),
    Verb(
        "rollback",
        "put the files of a run back as they were",
        "Put the configuration files of RUN back as they were before the first remediation. "
        "A\ntraining that runs goes on with what it has read already.",
    ),
)
