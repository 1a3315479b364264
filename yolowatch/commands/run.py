"""`yolowatch run -- COMMAND`: supervise one training in the foreground."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from yolowatch import config
from yolowatch.commands import pages
from yolowatch.edges import terminal
from yolowatch.edges.files import read_bounded
from yolowatch.edges.http import parse_address
from yolowatch.edges.story_files import StoryFiles
from yolowatch.errors import ConfigError, UsageError
from yolowatch.model.plan import Policy

_MAX_BYTES = 1 << 20
MODES = ("observe", "recommend", "auto")


class Run:
    """Supervises a training command and heals it when it runs out of memory."""

    name = "run"
    summary = "supervise a training command and heal its out-of-memory failures"
    description = """\
Supervise a training in the foreground, without root and without a service.

  yolowatch run -- yolo detect train data=coco8.yaml model=yolo11n.yaml batch=64
  yolowatch run -- python my_training.py
  yolowatch run --metrics 127.0.0.1:9466 -- yolo train …

The training keeps your terminal, environment and limits. When it runs out of memory, its batch is
made smaller with the same effective batch, it resumes from its last checkpoint, and a receipt says
what was changed and why (`yolowatch show RUN --json` for a machine). Everything else passes
through: the exit status is the training's own."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--mode",
            choices=MODES,
            default="auto",
            help="auto carries a plan out, recommend only shows it, observe never plans "
            "(default: auto)",
        )
        parser.add_argument(
            "--metrics",
            metavar="HOST:PORT",
            help="serve /metrics for Prometheus and the incident pages there while it runs; port 0 "
            "picks a free one",
        )
        parser.add_argument(
            "--web-config",
            type=Path,
            metavar="FILE",
            help="TLS and passwords for --metrics, in the form of Prometheus' web configuration",
        )
        parser.add_argument(
            "--state-dir",
            type=Path,
            metavar="DIR",
            help="where the journal is kept (default: $XDG_STATE_HOME/yolowatch)",
        )
        parser.add_argument(
            "--margin",
            type=_ratio,
            metavar="RATIO",
            help="part of the memory that every prediction keeps free "
            f"(default: {Policy.margin_ratio})",
        )
        parser.add_argument(
            "--policy",
            type=Path,
            metavar="FILE",
            help="what may be changed, in YAML: its keys: yolowatch levers",
        )
        parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND …")

    def run(self, arguments: argparse.Namespace) -> int:
        command = arguments.command
        if command and command[0] == "--":
            command = command[1:]
        if not command:
            raise UsageError(
                "no command to supervise; write it after --: yolowatch run -- yolo train …"
            )
        from yolowatch.daemon.app import (  # dear to import, and needed by this command alone
            Options,
            supervise,
        )

        options = Options(
            tuple(command),
            _policy(arguments),
            arguments.state_dir,
            parse_address(arguments.metrics) if arguments.metrics else None,
            arguments.web_config,
        )
        outcome = supervise(options)
        core = outcome.core
        kept = StoryFiles(outcome.state_directory)
        for receipt in (*core.ordering.living.receipts, *core.healing.receipts):
            page = pages.kept_at(kept.page_of(receipt.incident))
            terminal.tell(pages.receipt(receipt.to_json(), sys.stderr) + page)
        return outcome.exit_status


def _policy(arguments: argparse.Namespace) -> Policy:
    policy = Policy(mode=arguments.mode)
    path: Path | None = arguments.policy
    if path is not None:
        try:
            text = read_bounded(path, _MAX_BYTES).decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
            raise ConfigError(f"{path} cannot be read: {reason}.") from None
        policy = config.policy(text, str(path), policy)
    return policy if arguments.margin is None else replace(policy, margin_ratio=arguments.margin)


def _ratio(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no ratio between 0 and 1")
    return value
