"""What the commands that ask a running daemon have in common."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolowatch.edges import control_client, plain
from yolowatch.errors import ServiceError
from yolowatch.model.view import FleetView, RunView


def add_socket(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a daemon."""
    parser.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="the daemon's control socket (default: your own daemon's where one runs, else the "
        "system's)",
    )


def socket_of(arguments: argparse.Namespace) -> Path:
    """The control socket that is meant."""
    path: Path | None = arguments.socket
    return control_client.socket_path(os.environ) if path is None else path


def fleet(answer: Mapping[str, Any]) -> FleetView:
    """The view in the answer to `status`; raises ServiceError where another version made it."""
    try:
        return plain.from_json(FleetView, json.dumps(answer))
    except ValueError:
        raise ServiceError(_OTHER_VERSION) from None


def run(answer: Mapping[str, Any]) -> RunView:
    """The run in the answer to `status` of one; raises ServiceError like `fleet`."""
    try:
        return plain.from_json(RunView, json.dumps(answer.get("run")))
    except ValueError:
        raise ServiceError(_OTHER_VERSION) from None


_OTHER_VERSION = (
    "The daemon answers in the words of another version: restart it, so that it is the one that is "
    "installed."
)
