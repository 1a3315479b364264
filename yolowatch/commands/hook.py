"""`yolowatch hook`: the hook comes with every training of an environment, or of a container."""

from __future__ import annotations

import argparse
from pathlib import Path

from yolowatch.edges import installing
from yolowatch.errors import UsageError


class Hook:
    """Installs the hook into a Python environment, and removes it."""

    name = "hook"
    summary = "install the hook into an environment, so that its trainings bring it along"
    description = """\
Install the hook into the training's Python environment: each training that is started there finds a
yolowatch service by itself, and nothing has to be attached.

  yolowatch hook install --python ~/yolo/venv
  yolowatch hook uninstall --python ~/yolo/venv
  yolowatch hook stage --into /hook

It costs a fraction of a millisecond at the start of each Python there, and nothing is loaded before
torch is. `YOLOWATCH=0` in the environment of a process leaves it alone. Installing once more brings
the hook of this version; what runs keeps its own.

`stage` puts it into a folder for containers, whose files no daemon can reach: they start their
trainings with PYTHONPATH=/hook/current and YOLOWATCH_SOCKET=/run/yolowatch/hook.sock."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("action", choices=("install", "uninstall", "stage"))
        parser.add_argument(
            "--python",
            type=Path,
            metavar="ENV",
            help="the folder of an environment, or its python",
        )
        parser.add_argument("--into", type=Path, metavar="DIR", help="where `stage` puts the hook")

    def run(self, arguments: argparse.Namespace) -> int:
        wanted = "--into" if arguments.action == "stage" else "--python"
        if getattr(arguments, wanted[2:]) is None:
            raise UsageError(f"`yolowatch hook {arguments.action}` needs {wanted}")
        if arguments.action == "stage":
            print(f"The hook is in {installing.stage_for_all(arguments.into)}.")
        elif arguments.action == "install":
            print(f"The hook is in {installing.install(arguments.python)}.")
        elif installing.uninstall(arguments.python):
            print("The hook is removed; trainings that run keep theirs.")
        else:
            print("There was no hook in that environment.")
        return 0
