"""The doctor and the checker of configurations at the front door, as real processes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import trustme

from tests.commands.door import Door

SHIPPED = Path(__file__).resolve().parents[2] / "systemd" / "yolowatch.yaml"


def test_where_nothing_runs_the_doctor_says_what_to_start(door: Door, tmp_path: Path) -> None:
    control = tmp_path / "control.sock"
    done = door("doctor", "--cpu", "--socket", str(control), "--config", str(SHIPPED))
    assert done.returncode == 107
    assert f"problem  socket control       The socket {control} is missing: there is none." in (
        done.stdout
    )
    assert "→ start `yolowatch daemon`" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Problems: ")
    assert f"good     configuration        {SHIPPED} is good." in done.stdout


def test_the_doctor_speaks_json(door: Door, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("mdoe: auto")
    done = door("doctor", "--json", "--socket", str(tmp_path / "c"), "--config", str(bad))
    found = json.loads(done.stdout)
    assert done.returncode == 107
    assert found["problems"] == sum(each["level"] == "problem" for each in found["findings"])
    wrong = {each["check"]: each for each in found["findings"] if each["level"] == "problem"}
    assert "unknown key 'mdoe'" in wrong["configuration"]["sentence"]
    assert wrong["configuration"]["cure"]


def test_a_good_configuration_is_told_in_a_line(door: Door) -> None:
    done = door("check-config", str(SHIPPED))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{SHIPPED}: good (mode recommend, attach safe, ")
    told = json.loads(door("check-config", "--json", str(SHIPPED)).stdout)
    assert (told["files"], told["mode"]) == ([str(SHIPPED)], "recommend")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("mdoe: auto", "did you mean 'mode'?"), ("mode: on", "one of: observe"), ("a: [", "no YAML")],
)
def test_a_bad_one_is_an_error(door: Door, tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "y.yaml"
    path.write_text(text)
    done = door("check-config", str(path))
    assert (done.returncode, done.stdout) == (121, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert door("check-config", str(tmp_path / "gone.yaml")).returncode == 121


def test_a_policy_file_is_checked_too(door: Door, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("levers: [batch]\n")
    assert "levers batch" in door("check-config", "--policy", str(path)).stdout
    path.write_text("marign: 1\n")
    done = door("check-config", "--policy", str(path))
    assert (done.returncode, "'margin'" in done.stderr) == (121, True)


def test_a_certificate_that_has_expired_is_found_and_named(door: Door, tmp_path: Path) -> None:
    until = datetime.now(timezone.utc) - timedelta(days=1)
    made = trustme.CA().issue_cert("box", not_before=until - timedelta(days=9), not_after=until)
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    web, file = tmp_path / "web.yaml", tmp_path / "yolowatch.yaml"
    web.write_text("tls_server_config: {cert_file: cert.pem, key_file: key.pem}")
    file.write_text(f"web_config: {web}\nmetrics: none\n")
    said = door("doctor", "--cpu", "--config", file).stdout
    assert f"The certificate {tmp_path}/cert.pem is of no use: certificate has expired." in said
    refused = door.refuses(121, "check-config", file)
    assert "certificate has expired; renew it" in refused
    web.write_text("tls_server_config: {cert: x}")
    assert "name a file in cert_file" in door("doctor", "--cpu", "--config", file).stdout
