"""`yolowatch hook install|uninstall --python ENV`: the hook comes with every training of ENV."""

from __future__ import annotations

import argparse
from pathlib import Path

from yolowatch.edges import installing


class Hook:
    """Installs the hook into a Python environment, and removes it."""

    name = "hook"
    summary = "install the hook into an environment, so that its trainings bring it along"
    description = """\
Install the hook into the training's Python environment: each training that is started there finds a
yolowatch service by itself, and nothing has to be attached.

  yolowatch hook install --python ~/yolo/venv
  yolowatch hook uninstall --python ~/yolo/venv

It costs a fraction of a millisecond at the start of each Python there, and nothing is loaded before
torch is. `YOLOWATCH=0` in the environment of a process leaves it alone. Installing once more brings
the hook of this version; what runs keeps its own."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("action", choices=("install", "uninstall"))
        parser.add_argument(
            "--python",
            type=Path,
            required=True,
            metavar="ENV",
            help="the folder of an environment, or its python",
        )

    def run(self, arguments: argparse.Namespace) -> int:
        if arguments.action == "install":
            print(f"The hook is in {installing.install(arguments.python)}.")
        elif installing.uninstall(arguments.python):
            print("The hook is removed; trainings that run keep theirs.")
        else:
            print("There was no hook in that environment.")
        return 0
