"""`yolowatch check-config`: what the service would say of its configuration, before it says it.

The code that reads it is the code that checks it. Nothing is asked of a daemon or changed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from yolowatch import config
from yolowatch.commands.base import print_json
from yolowatch.edges import http_access, otlp
from yolowatch.edges.config_files import read_documents
from yolowatch.edges.statedir import SYSTEM_CONFIG
from yolowatch.model.plan import Policy
from yolowatch.model.service import ServiceConfig


class CheckConfig:
    """Reads the configuration as the service does, and says what it comes to."""

    name = "check-config"
    summary = "check a configuration of the service, or a policy file"
    description = """\
Read a configuration with its drop-ins as the service does. Says what it comes to and ends with 0,
or names the file, the key and what it may be, and ends with 121.

  yolowatch check-config
  yolowatch check-config --policy my-policy.yaml"""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "file",
            type=Path,
            nargs="?",
            default=SYSTEM_CONFIG,
            metavar="FILE",
            help=f"the configuration (default: {SYSTEM_CONFIG}); conf.d/*.yaml beside it counts",
        )
        parser.add_argument(
            "--policy", action="store_true", help="FILE is a policy file of `yolowatch run`"
        )
        parser.add_argument("--json", action="store_true", help="say it for a machine")

    def run(self, arguments: argparse.Namespace) -> int:
        documents = read_documents(arguments.file)
        if arguments.policy:
            name, text = documents[0]
            policy = config.policy(text, name, Policy())
            self._say(arguments, [name], {"mode": policy.mode, "levers": list(policy.levers)})
            return 0
        found = config.service(documents)
        if found.web_config is not None:
            http_access.load(Path(found.web_config))  # with its certificates
        otlp.check(found.otlp)
        self._say(arguments, [name for name, _ in documents], _figures(found))
        return 0

    def _say(
        self, arguments: argparse.Namespace, files: list[str], found: dict[str, object]
    ) -> None:
        if arguments.json:
            print_json({"files": files, **found})
            return
        said = ", ".join(f"{name} {_shown(value)}" for name, value in found.items())
        print(f"{' and '.join(files)}: good ({said})")


def _figures(found: ServiceConfig) -> dict[str, object]:
    return {
        "mode": found.mode,
        "attach": found.attach.value,
        "metrics": found.metrics,
        "web_config": found.web_config,
        "notification targets": len(found.notifications.urls),
        "otlp": found.otlp.endpoint,
        "rules of users": len(found.users),
        "rules of directories": len(found.directories),
    }


def _shown(value: object) -> str:
    return " ".join(value) if isinstance(value, list) else "none" if value is None else str(value)
