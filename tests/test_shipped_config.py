"""The configuration that is shipped: it says what is so."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import yaml

from yolowatch import config
from yolowatch.edges import statedir
from yolowatch.model.service import ServiceConfig

SHIPPED = Path(__file__).resolve().parents[1] / "systemd" / "yolowatch.yaml"
UNITS = SHIPPED.parent


def uncommented() -> str:
    """Every setting in force: "#key: value" is one, "# words" are not."""
    return re.sub(r"^#(?=\w|  \w)", "", SHIPPED.read_text(), flags=re.M)


def test_as_it_is_it_recommends_and_changes_nothing_else() -> None:
    assert config.service([("shipped", SHIPPED.read_text())]) == ServiceConfig()
    assert yaml.safe_load(SHIPPED.read_text()) == {"mode": "recommend"}


def test_every_key_is_in_it_with_its_default() -> None:
    found = yaml.safe_load(uncommented())
    without = dict(re.findall(r"^#   ([a-z_]+): (.*)", SHIPPED.read_text(), flags=re.M))
    assert set(found) | set(without) == set(config.SERVICE_KEYS)
    for key, example in without.items():  # no value of theirs says what is so by default
        assert getattr(ServiceConfig(), key) is None
        config.service([("example", f"{key}: {example}")])
    assert set(found["policy"]) == set(config.KEYS)
    default = ServiceConfig(state_dir=str(statedir.SYSTEM_STATE))
    read = config.service([("shipped", uncommented())])
    assert replace(read, policy=default.policy) == default
    assert read.policy == default.policy


def test_every_key_is_explained() -> None:
    lines = SHIPPED.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"#?( {2})?[a-z_]+:", line):
            above = lines[number - 1].strip()
            assert above.startswith(("# ", "#  ")) or above == "#policy:", line


def test_the_program_knows_the_places_of_the_units() -> None:
    service, helper = ((UNITS / f"{name}.service").read_text()
                       for name in ("yolowatch", "yolowatch-helper"))  # fmt: skip
    assert f"--socket-dir {statedir.SYSTEM_SOCKETS} " in service
    assert f"--config {statedir.SYSTEM_CONFIG} " in service
    assert f"--helper {statedir.SYSTEM_HELPER}\n" in service
    assert f"XDG_STATE_HOME={statedir.SYSTEM_STATE.parent}\n" in service
    assert f"\nUser={statedir.SYSTEM_USER}\n" in service
    assert f"--starter {statedir.SYSTEM_STARTER}\n" in helper
    for name, path in (
        ("yolowatch.socket", statedir.SYSTEM_SOCKETS / "hook.sock"),
        ("yolowatch-helper.socket", statedir.SYSTEM_HELPER),
        ("yolowatch-starter.socket", statedir.SYSTEM_STARTER),
    ):
        assert f"={path}\n" in (UNITS / name).read_text()
