"""`yolowatch version`: which release this is, and on what it runs."""

from __future__ import annotations

import argparse
import platform

from yolowatch import __version__
from yolowatch.commands.base import print_json
from yolowatch.hook import wire


class Version:
    """Prints versions."""

    name = "version"
    summary = "print the version"
    description = "Print the version of yolowatch, of Python and of the wire format of its hook."

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print a JSON object")

    def run(self, arguments: argparse.Namespace) -> int:
        facts = {
            "yolowatch": __version__,
            "python": platform.python_version(),
            "wire": wire.VERSION,
        }
        if arguments.json:
            print_json(facts)
        else:
            print(f"yolowatch {__version__} (Python {facts['python']}, wire format {wire.VERSION})")
        return 0
