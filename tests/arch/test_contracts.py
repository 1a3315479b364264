"""The architecture, held: the tree obeys every rule, and every rule sees a planted violation."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.arch import rules
from tests.environments import installed_python

PACKAGE = Path(__file__).resolve().parents[2] / "yolowatch"

# Everything may be caught only where a thread or a guest ends; each place says why.
BROAD_EXCEPTS = {
    "commands/main.py": "the front door: a mistake of yolowatch's own becomes an exit code",
    "daemon/fleet.py": "the cycle: a mistake about one run must not end the watch over the others",
    "daemon/front.py": "the cycle: what people are shown must not end what watches",
    "daemon/threads.py": "the thread supervisor: no thread of the daemon ends unseen",
    "hook/guard.py": "the hook's boundary: nothing of ours may reach the training",
    "hook/payload.py": "code in the middle of a running training must not leave an exception there",
    "hook/start.py": "a hook that was installed and cannot start must not stop the training",
    "hook/sitecustomize.py": "a hook that cannot start must not stop the training",
}

LINES = 300
# A module that is longer than a reader holds in mind says here why it is not two.
LONG_MODULES: dict[str, str] = {}

RULES = [
    rules.files_only_at_the_edge,
    rules.clock_only_in_its_module,
    rules.signals_only_through_hands,
    rules.nothing_evaluates,
    rules.guests_stand_alone,
    rules.hook_is_python38,
]

Rule = Callable[[Path], list[str]]


@pytest.fixture
def planted(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """Builds a small package with the same rooms and the given modules in it."""

    def build(modules: dict[str, str]) -> Path:
        package = tmp_path / "yolowatch"
        rooms = "commands daemon hands edges decide config metrics trainers model hook demo"
        for room in ["", *rooms.split()]:
            (package / room).mkdir(parents=True, exist_ok=True)
            (package / room / "__init__.py").touch()
        for name, text in ({"hook/wire.py": "", "errors.py": ""} | named() | modules).items():
            (package / name).parent.mkdir(exist_ok=True)
            (package / name).write_text(text + "\n")
        (package / "hands" / "helper" / "__init__.py").touch()
        return package

    return build


def named() -> dict[str, str]:
    """The single modules that the contracts name: a contract about one that is not there fails."""
    text = (PACKAGE.parent / "pyproject.toml").read_text()
    found = re.findall(r'"yolowatch\.((?:edges|hands)(?:\.[a-z_]+)+)"', text)
    return {f"{name.replace('.', '/')}.py": "" for name in found}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache", "--config", PACKAGE.parent / "pyproject.toml"],
        cwd=folder,
        capture_output=True,
        text=True,
    )


# ---------------------------------------------------------------- the real tree


@pytest.mark.parametrize("rule", RULES)
def test_the_tree_obeys(rule: Rule) -> None:
    assert rule(PACKAGE) == []


def test_imports_keep_their_contracts() -> None:
    result = lint_imports(PACKAGE.parent)
    assert result.returncode == 0, result.stdout + result.stderr


def test_everything_is_caught_only_where_it_is_explained() -> None:
    assert sorted(rules.broad_excepts(PACKAGE)) == sorted(BROAD_EXCEPTS)


def test_modules_are_short_or_say_why_not() -> None:
    assert sorted(rules.long_modules(PACKAGE, LINES)) == sorted(LONG_MODULES)


@pytest.mark.parametrize("minor", range(8, 15))
def test_the_hook_imports_under_a_foreign_name_in(minor: int, tmp_path: Path) -> None:
    python = installed_python(minor)
    if python is None:
        pytest.skip(f"no Python 3.{minor} here")
    modules = _copied_under_a_foreign_name(PACKAGE / "hook", tmp_path)
    result = _import_all(python, modules, tmp_path)
    assert result.returncode == 0, result.stderr


# ---------------------------------------------------------------- planted violations


@pytest.mark.parametrize(
    ("rule", "module", "text"),
    [
        (rules.files_only_at_the_edge, "daemon/a.py", "open('/etc/passwd')"),
        (rules.files_only_at_the_edge, "decide/a.py", "from io import open as o\no('x')"),
        (rules.files_only_at_the_edge, "commands/a.py", "import os\nfd = os.open('x', 0)"),
        (rules.files_only_at_the_edge, "config.py", "def f(path):\n    return path.read_text()"),
        (rules.files_only_at_the_edge, "model/a.py", "def f(path):\n    path.unlink()"),
        (rules.files_only_at_the_edge, "errors.py", "def f(path):\n    path.open()"),
        (rules.clock_only_in_its_module, "decide/a.py", "import time\ntime.time()"),
        (rules.clock_only_in_its_module, "edges/a.py", "import time as t\nt.sleep(1)"),
        (rules.clock_only_in_its_module, "model/a.py", "from time import monotonic as m\nf = m"),
        (
            rules.clock_only_in_its_module,
            "daemon/a.py",
            "from datetime import datetime\ndatetime.now()",
        ),
        (
            rules.clock_only_in_its_module,
            "metrics/a.py",
            "import datetime as d\nd.date.today()",
        ),
        (rules.signals_only_through_hands, "daemon/a.py", "import os\nos.kill(1, 9)"),
        (
            rules.signals_only_through_hands,
            "edges/a.py",
            "import signal\nsend = signal.pidfd_send_signal",
        ),
        (rules.signals_only_through_hands, "commands/a.py", "def f(child):\n    child.kill()"),
        (rules.nothing_evaluates, "trainers/a.py", "eval('1')"),
        (rules.nothing_evaluates, "edges/a.py", "import importlib\nimportlib.import_module('x')"),
        (rules.nothing_evaluates, "daemon/a.py", "run = exec"),
        (rules.guests_stand_alone, "hook/a.py", "import torch"),
        (rules.guests_stand_alone, "hook/a.py", "def f():\n    import psutil"),
        (rules.guests_stand_alone, "hook/a.py", "def f():\n    import bitsandbytes"),
        (rules.guests_stand_alone, "hook/a.py", "def f():\n    from .. import model"),
        (rules.guests_stand_alone, "hook/a.py", "from yolowatch.hook import wire"),
        (rules.guests_stand_alone, "hook/a.py", "from .. import errors"),
        (rules.guests_stand_alone, "demo/a.py", "from ..hook import wire"),
        (rules.hook_is_python38, "hook/a.py", "match 1:\n    case _:\n        pass"),
    ],
)
def test_a_rule_sees(
    rule: Rule, module: str, text: str, planted: Callable[[dict[str, str]], Path]
) -> None:
    findings = rule(planted({module: text}))
    assert len(findings) == 1
    assert findings[0].startswith(f"{module}:")


@pytest.mark.parametrize(
    ("rule", "module", "text"),
    [
        (rules.files_only_at_the_edge, "edges/a.py", "open('x')"),
        (rules.files_only_at_the_edge, "hands/a.py", "import os\nos.open('x', 0)"),
        (rules.clock_only_in_its_module, "edges/clock.py", "import time\ntime.monotonic()"),
        (rules.clock_only_in_its_module, "decide/a.py", "def f(run):\n    return run.time"),
        (rules.signals_only_through_hands, "hands/a.py", "import os\nos.kill(1, 9)"),
        (rules.nothing_evaluates, "edges/a.py", "import re\nre.compile('x')"),
        (rules.guests_stand_alone, "hook/a.py", "import json\nfrom .wire import *"),
        (rules.guests_stand_alone, "demo/a.py", "import ultralytics"),
    ],
)
def test_a_rule_lets_pass(
    rule: Rule, module: str, text: str, planted: Callable[[dict[str, str]], Path]
) -> None:
    assert rule(planted({module: text})) == []


@pytest.mark.parametrize(
    "clause",
    ["except:", "except Exception:", "except BaseException as e:", "except (OSError, Exception):"],
)
def test_a_broad_except_is_seen(clause: str, planted: Callable[[dict[str, str]], Path]) -> None:
    package = planted({"hook/a.py": f"try:\n    f()\n{clause}\n    pass"})
    assert rules.broad_excepts(package) == {"hook/a.py": [3]}


def test_a_broad_suppress_is_seen_and_a_narrow_except_is_not(
    planted: Callable[[dict[str, str]], Path],
) -> None:
    package = planted(
        {
            "daemon/a.py": "import contextlib\nwith contextlib.suppress(Exception):\n    f()",
            "daemon/b.py": "try:\n    f()\nexcept (OSError, ValueError):\n    pass",
        }
    )
    assert rules.broad_excepts(package) == {"daemon/a.py": [2]}


def test_a_long_module_is_seen(planted: Callable[[dict[str, str]], Path]) -> None:
    package = planted({"daemon/a.py": "x = 1\n" * LINES, "daemon/b.py": "x = 1\n" * (LINES - 1)})
    assert rules.long_modules(package, LINES) == {"daemon/a.py": LINES + 1}


@pytest.mark.parametrize(
    ("module", "text", "broken"),
    [
        ("model/a.py", "from yolowatch.edges import x", "Imports run downwards only"),
        ("decide/a.py", "from yolowatch import edges", "Imports run downwards only"),
        ("metrics/a.py", "import yolowatch.config", "Imports run downwards only"),
        ("hook/a.py", "from yolowatch import model", "Imports run downwards only"),
        ("demo/a.py", "from yolowatch.hook import wire", "Imports run downwards only"),
        ("cellar.py", "", "Imports run downwards only"),
        ("edges/a.py", "from yolowatch.demo import train", "Of the guests only"),
        ("edges/a.py", "from yolowatch.hook.agent import arm", "Of the guests only"),
        ("daemon/a.py", "def f():\n    import torch.cuda", "Only the guests import torch"),
        ("edges/a.py", "from pickle import loads", "Nothing unpickles"),
        ("edges/a.py", "import pickletools", "Nothing unpickles"),
        ("decide/a.py", "import socket", "do no input or output"),
        ("trainers/a.py", "from subprocess import run", "do no input or output"),
        ("hands/helper/program.py", "from yolowatch.hands import executor", "The root helper"),
        ("hands/helper/program.py", "import yolowatch.trainers", "The root helper"),
        ("hands/helper/program.py", "import yaml", "The root helper"),
    ],
)
def test_a_contract_breaks(
    module: str, text: str, broken: str, planted: Callable[[dict[str, str]], Path]
) -> None:
    package = planted({"hook/agent.py": "", "demo/train.py": "", module: text})
    result = lint_imports(package.parent)
    assert result.returncode == 1
    assert [line for line in result.stdout.splitlines() if broken in line and "BROKEN" in line]


def test_the_contracts_let_the_planned_house_pass(
    planted: Callable[[dict[str, str]], Path],
) -> None:
    package = planted(
        {
            "commands/a.py": "from yolowatch.daemon import a",
            "daemon/a.py": "import threading, yolowatch.hands, yolowatch.edges, yolowatch.decide",
            "edges/a.py": "import socket, yolowatch.metrics\nfrom yolowatch.hook import wire",
            "metrics/a.py": "import prometheus_client\nfrom yolowatch import model",
            "trainers/a.py": "import pickletools",
            "hook/a.py": "import socket, time",
            "demo/a.py": "import torch, ultralytics",
        }
    )
    result = lint_imports(package.parent)
    assert result.returncode == 0, result.stdout


def test_a_hook_that_an_old_python_cannot_import_is_seen(
    planted: Callable[[dict[str, str]], Path], tmp_path: Path
) -> None:
    package = planted({"hook/a.py": "import absent_from_every_library"})
    modules = _copied_under_a_foreign_name(package / "hook", tmp_path)
    result = _import_all(sys.executable, modules, tmp_path)
    assert "absent_from_every_library" in result.stderr
    assert result.returncode != 0


def _copied_under_a_foreign_name(hook: Path, folder: Path) -> list[str]:
    """Copies the hook as somebody else's package and lists its modules."""
    copy = folder / "borrowed"
    shutil.copytree(hook, copy, ignore=shutil.ignore_patterns("__pycache__"))
    modules = [path.relative_to(folder).with_suffix("") for path in sorted(copy.rglob("*.py"))]
    return [".".join(module.parts).removesuffix(".__init__") for module in modules]


def _import_all(
    python: str | Path, modules: list[str], folder: Path
) -> subprocess.CompletedProcess[str]:
    program = "import sys, importlib\nfor name in sys.argv[1:]: importlib.import_module(name)"
    return subprocess.run(
        [python, "-W", "error", "-c", program, *modules],
        cwd=folder,
        env={"YOLOWATCH": "0"},
        capture_output=True,
        text=True,
    )
