"""`yolowatch daemon`: watch and heal all trainings of a user, or of a machine."""

from __future__ import annotations

import argparse
import faulthandler
from pathlib import Path

from yolowatch import config
from yolowatch.edges.config_files import read_documents


class Daemon:
    """Runs the service in the foreground, as systemd wants it."""

    name = "daemon"
    summary = "watch the trainings that run here, and heal them as configured"
    description = """\
Watch every training of yours that has the hook, until SIGTERM or Ctrl-C. Stopping it leaves the
trainings alone; the next daemon takes them up again. SIGHUP has the configuration read again.

  yolowatch daemon
  yolowatch daemon --config /etc/yolowatch/yolowatch.yaml

Without a configuration it recommends: plans are made and shown, nothing is touched."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help="modes, rules and policy, in YAML; conf.d/*.yaml beside it is read after it",
        )
        parser.add_argument(
            "--state-dir",
            type=Path,
            metavar="DIR",
            help="where the journal is kept (default: $XDG_STATE_HOME/yolowatch)",
        )

        parser.add_argument(
            "--helper",
            type=Path,
            metavar="SOCKET",
            help="of yolowatch-helper, which touches the trainings of other users for this one",
        )
        parser.add_argument(
            "--socket-dir",
            type=Path,
            metavar="DIR",
            help="where hook.sock and control.sock lie (default: /run/yolowatch for root, else "
            "$XDG_RUNTIME_DIR/yolowatch)",
        )

    def run(self, arguments: argparse.Namespace) -> int:
        faulthandler.enable()  # of a loop that stalled, the watchdog's SIGABRT shows where
        path: Path | None = arguments.config
        documents = () if path is None else read_documents(path)
        chosen = config.service(documents)
        from yolowatch.daemon.service import (  # dear to import, and needed by this command alone
            ServiceOptions,
            serve,
        )

        return serve(
            ServiceOptions(
                chosen,
                arguments.state_dir,
                path,
                documents,
                arguments.helper,
                arguments.socket_dir,
            )
        )
