"""`yolowatch doctor`: looks at a box from end to end and says what to do."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from yolowatch import config
from yolowatch.commands import asking
from yolowatch.commands.base import print_json
from yolowatch.decide.diagnose import diagnose
from yolowatch.edges import control_client, examining, http_access, otlp, scraping
from yolowatch.edges.certificates import trouble_of
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.config_files import Documents, read_documents
from yolowatch.edges.names import user_name
from yolowatch.edges.statedir import (
    SYSTEM_CONFIG,
    SYSTEM_HELPER,
    SYSTEM_SOCKETS,
    SYSTEM_STARTER,
    SYSTEM_STATE,
    SYSTEM_USER,
    default_state_directory,
)
from yolowatch.errors import ConfigError, UnwellError, YolowatchError
from yolowatch.model.attach import AttachPolicy
from yolowatch.model.diagnosis import (
    DirectoryFacts,
    Facts,
    Finding,
    Level,
    ScrapeFacts,
    SocketFacts,
)
from yolowatch.model.printable import printable
from yolowatch.model.service import ServiceConfig
from yolowatch.model.view import FleetView
from yolowatch.model.web import WebConfig

_ASK_SECONDS = 10.0
_MIB, _GIB = 1 << 20, 1 << 30
_STATE_BYTES, _RUN_BYTES = 64 * _MIB, _GIB
_MAX_RUNS = 50
_GOES_IN = (AttachPolicy.SAFE, AttachPolicy.DEBUGGER)


class Doctor:
    """Examines, judges, prints; 0 where nothing is wrong."""

    name = "doctor"
    summary = "examine this machine from end to end, and say what to do"
    description = """\
Examine this machine: the GPU's driver, the configuration, sockets and daemon, ptrace, directories
with their space and owners, certificates, metrics. Each check is a line; what is wrong has its
cure. Ends with 0 where nothing is wrong, with 107 where something is. Nothing is changed.

  yolowatch doctor
  yolowatch doctor /data/runs --python ~/yolo/venv --prometheus http://monitor:9090"""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        asking.add_socket(parser)
        parser.add_argument(
            "directories",
            type=Path,
            nargs="*",
            metavar="DIR",
            help="of checkpoints, to look at too",
        )
        parser.add_argument(
            "--config", type=Path, metavar="FILE", help=f"of the service (default: {SYSTEM_CONFIG})"
        )
        parser.add_argument(
            "--python",
            type=Path,
            action="append",
            default=[],
            metavar="ENV",
            help="an environment that should have the hook installed",
        )
        parser.add_argument(
            "--prometheus", metavar="URL", help="one that should scrape this daemon"
        )
        parser.add_argument("--cpu", action="store_true", help="this machine is to have no GPU")
        parser.add_argument("--json", action="store_true", help="say it for a machine")

    def run(self, arguments: argparse.Namespace) -> int:
        findings = diagnose(_facts(arguments))
        problems = sum(each.level is Level.PROBLEM for each in findings)
        if arguments.json:
            print_json(
                {
                    "problems": problems,
                    "findings": [{**asdict(each), "level": each.level.value} for each in findings],
                }
            )
        else:
            for each in findings:
                _print(each)
            print("Nothing is wrong." if not problems else f"Problems: {problems}.")
        return UnwellError.exit_code if problems else 0


def _print(finding: Finding) -> None:
    print(f"{finding.level.value:<8} {finding.check:<20} {printable(finding.sentence, 500)}")
    if finding.cure:
        print(f"{'':<8} {'':<20} → {printable(finding.cure, 500)}")


def _facts(arguments: argparse.Namespace) -> Facts:
    control = asking.socket_of(arguments)
    system = control.parent == SYSTEM_SOCKETS
    trouble, view = _daemon(control)
    path, config_trouble, found = _configuration(arguments, view)
    nvml_trouble, gpus, gpu_troubles = (None, 0, ()) if arguments.cpu else examining.gpus()
    attaches = found.attach in _GOES_IN
    prometheus: str | None = arguments.prometheus
    config_trouble, web = _web(found, config_trouble)
    asked = (None, None) if prometheus is None else scraping.is_scraped(prometheus, found.metrics)
    return Facts(
        is_root=os.geteuid() == 0,
        attaches=attaches,
        nvml_trouble=nvml_trouble,
        gpus=gpus,
        gpu_troubles=gpu_troubles,
        sockets=_sockets(control, system),
        daemon_trouble=trouble,
        ptrace_scope=examining.ptrace_scope(),
        ptrace_trouble=examining.ptrace_trouble(SystemClock()) if attaches else None,
        directories=_directories(arguments, found, view, system),
        config_path=None if path is None else str(path),
        config_trouble=config_trouble,
        certificate=None if web.tls is None else web.tls.cert_file,
        certificate_trouble=None if web.tls is None else trouble_of(web.tls),
        scrape=ScrapeFacts(
            found.metrics,
            _trouble_of_page(found.metrics, web),
            prometheus,
            *asked,
        ),
        hooks=tuple(examining.hook(each) for each in arguments.python),
    )


def _daemon(control: Path) -> tuple[str | None, FleetView | None]:
    try:
        answer = control_client.ask("status", {}, control, timeout_seconds=_ASK_SECONDS)
        return None, asking.fleet(answer)
    except YolowatchError as error:
        return str(error), None


def _configuration(
    arguments: argparse.Namespace, view: FleetView | None
) -> tuple[Path | None, str | None, ServiceConfig]:
    """The file, what is wrong with it, and what counts: the defaults where it is wrong."""
    path: Path | None = arguments.config
    if path is None and view is not None and view.config_path is not None:
        path = Path(view.config_path)
    if path is None and SYSTEM_CONFIG.exists():
        path = SYSTEM_CONFIG
    try:
        documents: Documents = () if path is None else read_documents(path)
        found = config.service(documents)
        otlp.check(found.otlp)
        return path, None, found
    except ConfigError as error:
        return path, str(error), ServiceConfig()


def _web(found: ServiceConfig, trouble: str | None) -> tuple[str | None, WebConfig]:
    """How the HTTP door is guarded; what is wrong with that counts where nothing else is."""
    if found.web_config is None:
        return trouble, WebConfig()
    try:
        return trouble, http_access.read(Path(found.web_config))
    except ConfigError as error:
        return trouble or str(error), WebConfig()


def _trouble_of_page(address: str | None, web: WebConfig) -> str | None:
    tls = web.tls
    if address is None or (tls is not None and tls.client_auth.startswith("Require")):
        return None  # nobody without a certificate of the site's is answered
    return scraping.trouble_of_page(address, encrypted=tls is not None)


def _sockets(control: Path, system: bool) -> tuple[SocketFacts, ...]:
    hooks = control.with_name("hook.sock")
    wanted = [("of hooks", hooks, "yolowatch.socket"), ("control", control, "yolowatch.service")]
    installed = system and SYSTEM_CONFIG.exists()
    if installed:
        wanted.append(("helper", SYSTEM_HELPER, "yolowatch-helper.socket"))
        wanted.append(("starter", SYSTEM_STARTER, "yolowatch-starter.socket"))
    return tuple(
        SocketFacts(name, str(path), examining.door(path), unit if installed else "")
        for name, path, unit in wanted
    )


def _directories(
    arguments: argparse.Namespace, found: ServiceConfig, view: FleetView | None, system: bool
) -> tuple[DirectoryFacts, ...]:
    installed = system and SYSTEM_CONFIG.exists()
    owner = SYSTEM_USER if installed else user_name(os.geteuid())
    state = SYSTEM_STATE if installed else default_state_directory(os.environ)
    if found.state_dir is not None:
        state = Path(found.state_dir)
    looked = [examining.directory(state, "state", owner=owner, least_bytes=_STATE_BYTES)]
    if installed:
        looked += [
            examining.directory(SYSTEM_SOCKETS, "sockets", owner=owner, least_bytes=_MIB),
        ]
    wanted = round(found.policy.vault_gib * _GIB)
    runs: dict[Path, str | None] = {path.absolute(): None for path in arguments.directories}
    for each in (view.runs if view is not None else ())[:_MAX_RUNS]:
        if each.run_dir is not None:
            runs[Path(each.run_dir)] = each.user
    for path, user in runs.items():
        looked += examining.run_directories(
            path, owner=user, least_bytes=_RUN_BYTES, wanted_bytes=wanted
        )
    return tuple(looked)
