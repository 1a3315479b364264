"""The documents are true: generated ones current, tables equal to the code, links alive."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from yolowatch import config, errors
from yolowatch.commands import configuration
from yolowatch.commands.levers import page as levers_page
from yolowatch.commands.main import COMMANDS
from yolowatch.metrics.reference import reference_markdown
from yolowatch.model.plan import Policy

DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/configuration.md",
    "docs/levers.md",
    "docs/metrics.md",
    "docs/pages.md",
    "docs/runbooks.md",
    "docs/exit-codes.md",
)
# A path in backticks: with a folder, or a folder alone.
PATH = re.compile(r"`(\.?[a-z_]+(?:/[\w.-]+)*/|\.?[a-z_]+(?:/[\w.-]+)+)`")
VARIABLE = re.compile(r"\b(?:YOLOWATCH(?:_[A-Z]+)*|XDG_STATE_HOME|NO_COLOR|TMPDIR)\b")


def test_the_metric_reference_is_current(repo_root: Path) -> None:
    """`yolowatch metrics > docs/metrics.md` makes it anew."""
    assert (repo_root / "docs" / "metrics.md").read_text() == reference_markdown()


def test_the_reference_of_levers_is_current(repo_root: Path) -> None:
    """`yolowatch levers > docs/levers.md` makes it anew."""
    assert (repo_root / "docs" / "levers.md").read_text() == levers_page()


def test_the_reference_of_the_configuration_is_current(repo_root: Path) -> None:
    """`yolowatch configuration > docs/configuration.md` makes it anew."""
    assert (repo_root / "docs" / "configuration.md").read_text() == configuration.page()


def test_the_example_of_a_configuration_is_one() -> None:
    found = config.service([("example.yaml", configuration.EXAMPLE)])
    assert (found.users[0].user, found.users[0].mode) == ("alice", "auto")


def test_the_examples_of_pages_and_messages_are_read(repo_root: Path) -> None:
    text = (repo_root / "docs" / "pages.md").read_text()
    web, messages = re.findall(r"^```\n(.*?)^```", text, re.M | re.S)
    found = config.web(web, "web.yaml", "/etc/yolowatch")
    assert found.tls is not None
    assert found.tls.cert_file == "/etc/yolowatch/server.crt"
    assert list(found.users) == ["prometheus"]
    assert len(config.service([("example.yaml", messages)]).notifications.urls) == 2


def test_the_exit_codes_of_asking_are_the_codes(repo_root: Path) -> None:
    rows = re.findall(
        r"^\| (10\d) \| ([^|]+) \|", (repo_root / "docs" / "exit-codes.md").read_text(), re.M
    )
    assert rows == [(str(each.exit_code), each.meaning) for each in errors.OF_SERVICE]


@pytest.mark.parametrize("name", ["README.md", "docs/exit-codes.md"])
def test_the_table_of_exit_codes_is_the_codes(repo_root: Path, name: str) -> None:
    rows = re.findall(r"^\| (12\d) \| ([^|]+) \|", (repo_root / name).read_text(), re.M)
    assert rows == [(str(each.exit_code), each.meaning) for each in errors.ALL]


def test_the_codes_of_attaching_are_documented(repo_root: Path) -> None:
    rows = re.findall(
        r"^\| (11\d) \| ([^|]+) \|", (repo_root / "docs/exit-codes.md").read_text(), re.M
    )
    assert rows == [(str(each.exit_code), each.meaning) for each in errors.ATTACHING]


def test_the_graces_are_the_policys(repo_root: Path) -> None:
    policy, text = Policy(), " ".join((repo_root / "README.md").read_text().split())
    assert f"SIGTERM after {policy.exit_grace_seconds:g} s" in text
    assert f"SIGKILL {policy.kill_grace_seconds:g} s later" in text
    assert f"waited for up to {policy.memory_wait_seconds:g} s" in text


def test_every_command_is_in_the_readme(repo_root: Path) -> None:
    text = (repo_root / "README.md").read_text()
    missing = [c.name for c in COMMANDS if f"yolowatch {c.name}" not in text]
    assert set(missing) <= {
        "configuration",
        "demo",
        "levers",
        "metrics",
        "version",
    }  # `make demo`; --help says the rest


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(repo_root: Path, name: str) -> None:
    document = repo_root / name
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_that_are_named_exist(repo_root: Path, name: str) -> None:
    rooms = (repo_root, repo_root / "yolowatch")
    named = set(PATH.findall((repo_root / name).read_text()))
    assert [path for path in named if not any((room / path).exists() for room in rooms)] == []


def test_variables_that_are_named_are_read(repo_root: Path) -> None:
    """Those of the README are those of the program, both ways."""
    sources = [*(repo_root / "yolowatch").rglob("*.py"), repo_root / "tests" / "environments.py"]
    read = {name for path in sources for name in VARIABLE.findall(path.read_text())}
    named = set(VARIABLE.findall((repo_root / "README.md").read_text()))
    assert named == read


def test_no_merge_was_left_half_done(repo_root: Path) -> None:
    tracked = subprocess.run(
        ["git", "-C", repo_root, "ls-files"], capture_output=True, text=True, check=False
    ).stdout.split() or [*DOCUMENTS]
    texts = {
        name: (repo_root / name).read_text(errors="replace")
        for name in tracked
        if (repo_root / name).is_file()
    }
    assert [name for name, text in texts.items() if re.search(r"^(<{7}|>{7}) ", text, re.M)] == []
