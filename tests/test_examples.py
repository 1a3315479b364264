"""The examples for containers: right by the schemas, and true to the program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from yolowatch import config
from yolowatch.commands.base import Parser
from yolowatch.commands.main import COMMANDS
from yolowatch.edges import statedir
from yolowatch.hook import addresses

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CLUSTER = [
    each
    for name in ("yolowatch.yaml", "training.yaml")
    for each in yaml.safe_load_all((EXAMPLES / "kubernetes" / name).read_text())
]
COMPOSE = yaml.safe_load((EXAMPLES / "containers" / "compose.yaml").read_text())
DOCKERFILE = (EXAMPLES / "containers" / "Dockerfile").read_text()
# Of Prometheus' operator, whose schema Kubernetes does not know.
OPERATORS = ("ServiceMonitor",)


def of_kind(kind: str) -> dict[str, Any]:
    return next(each for each in CLUSTER if each["kind"] == kind)


def daemon_container() -> dict[str, Any]:
    found: dict[str, Any] = of_kind("DaemonSet")["spec"]["template"]["spec"]["containers"][0]
    return found


def parsed(words: list[str]) -> Any:
    """The words of a command, as the program reads them; raises where it would refuse them."""
    command = next(each for each in COMMANDS if each.name == words[0])
    parser = Parser(prog="yolowatch")
    command.configure(parser)
    return parser.parse_args(words[1:])


@pytest.mark.parametrize("document", CLUSTER, ids=lambda each: each["kind"])
def test_kubernetes_would_take_it(document: dict[str, Any]) -> None:
    if document["kind"] in OPERATORS:
        assert document["apiVersion"] == "monitoring.coreos.com/v1"
        return
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_a_mistake_would_be_seen() -> None:
    wrong = {**of_kind("DaemonSet"), "spec": {"template": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_the_monitor_finds_the_service_and_the_service_the_daemon() -> None:
    monitor, service = of_kind("ServiceMonitor")["spec"], of_kind("Service")
    labels = of_kind("DaemonSet")["spec"]["template"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= labels.items()
    ports = {each["name"] for each in service["spec"]["ports"]}
    assert {each["port"] for each in monitor["endpoints"]} <= ports
    (port,) = daemon_container()["ports"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    configured = config.service([("map", of_kind("ConfigMap")["data"]["yolowatch.yaml"])])
    assert configured.metrics == f"0.0.0.0:{port['containerPort']}"


def test_volumes_that_are_mounted_are_there() -> None:
    for document in CLUSTER:
        pod = document.get("spec", {}).get("template", {}).get("spec")
        if pod is None:
            continue
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            mounted = {each["name"] for each in container.get("volumeMounts", ())}
            assert mounted <= {each["name"] for each in pod["volumes"]}
    for service in COMPOSE["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (EXAMPLES / "containers" / source).exists()


def test_the_program_understands_its_commands_and_configurations() -> None:
    daemon = parsed(daemon_container()["args"])
    assert daemon.socket_dir == statedir.SYSTEM_SOCKETS
    assert daemon.config == statedir.SYSTEM_CONFIG
    command = next(line for line in DOCKERFILE.splitlines() if line.startswith("CMD "))
    assert parsed(yaml.safe_load(command.removeprefix("CMD "))).config == statedir.SYSTEM_CONFIG
    job = of_kind("Job")["spec"]["template"]["spec"]
    for words in (job["initContainers"][0]["args"], COMPOSE["services"]["hook"]["command"]):
        assert (parsed(words).action, parsed(words).into) == ("stage", Path("/hook"))
    assert parsed(COMPOSE["services"]["yolowatch"]["healthcheck"]["test"][2:])
    text = (EXAMPLES / "containers" / "yolowatch.yaml").read_text()
    assert config.service([("compose", text)]).attach.value == "preloaded"


def test_the_paths_are_the_programs() -> None:
    address = f"{addresses.SYSTEM}/{addresses.NAME}"
    job = of_kind("Job")["spec"]["template"]["spec"]["containers"][0]
    environment = {each["name"]: each["value"] for each in job["env"]}
    assert environment == COMPOSE["services"]["training"]["environment"]
    assert environment == {"PYTHONPATH": "/hook/current", "YOLOWATCH_SOCKET": address}
    assert f"XDG_STATE_HOME={statedir.SYSTEM_STATE.parent}\n" in DOCKERFILE
    mounts = {each["mountPath"] for each in daemon_container()["volumeMounts"]}
    assert mounts >= {
        str(each)
        for each in (statedir.SYSTEM_SOCKETS, statedir.SYSTEM_STATE, statedir.SYSTEM_CONFIG.parent)
    }


def test_what_is_staged_for_containers_is_a_hook(tmp_path: Path) -> None:
    """With the very variables of the examples, a Python of any user has it loaded."""
    words = [sys.executable, "-m", "yolowatch", "hook", "stage", "--into", str(tmp_path / "hook")]
    for _ in range(2):  # another version replaces the link in one step
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert done.stdout == f"The hook is in {tmp_path}/hook/current.\n"
    assert not [each for each in (tmp_path / "hook").rglob("*") if not each.stat().st_mode & 0o004]
    given = {"PYTHONPATH": f"{tmp_path}/hook/current", "YOLOWATCH_SOCKET": "/run/y/hook.sock"}
    program = "import sys; print(sys.modules['yolowatch_hook.arming'].__file__)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], env=given, capture_output=True, text=True
    )
    assert loaded.stdout.startswith(f"{tmp_path}/hook/"), loaded.stderr
    off = subprocess.run([sys.executable, "-c", program], env={**given, "YOLOWATCH": "0"},
                         capture_output=True, text=True)  # fmt: skip
    assert "KeyError" in off.stderr
    refused = subprocess.run(words[:-2], capture_output=True, text=True)
    assert (refused.returncode, "needs --into" in refused.stderr) == (120, True)
