"""`yolowatch metrics`: the reference of every metric, from the one table that also exports them."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from yolowatch.commands.base import print_json
from yolowatch.metrics.reference import reference_markdown
from yolowatch.metrics.table import TABLE


class Metrics:
    """Prints the metric reference."""

    name = "metrics"
    summary = "print the reference of all metrics"
    description = """\
Print the reference of all metrics as Markdown.

To read them while a training runs: yolowatch run --metrics 127.0.0.1:9466 -- …
and point Prometheus at http://127.0.0.1:9466/metrics."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print a JSON list")

    def run(self, arguments: argparse.Namespace) -> int:
        if arguments.json:
            print_json([asdict(metric) for metric in TABLE])
        else:
            print(reference_markdown(), end="")
        return 0
