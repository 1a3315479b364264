"""What every suite may ask for: the real trainer's Python, Debian's promtool, the repository."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests import environments

try:
    from hypothesis import settings
except ImportError:
    pass  # the GPU suite has none and may run in a trainer's own Python
else:
    # The same examples everywhere, and no deadline: a fresh clone on a busy machine must pass.
    # More of them, and new ones: pytest --hypothesis-profile=fuzz
    settings.register_profile("same", deadline=None, derandomize=True)
    settings.register_profile("fuzz", deadline=None, max_examples=3000)
    settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Lets the GPU suite run in a trainer's own Python, which need not have pytest-timeout."""
    if not pluginmanager.hasplugin("timeout"):
        parser.addini("timeout", "seconds a test may take; kept only where pytest-timeout is")


def pytest_configure(config: pytest.Config) -> None:
    # Whoever started this in the background may have left these ignored, which children inherit;
    # the tests send them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if not config.pluginmanager.hasplugin("timeout"):
        config.addinivalue_line("markers", "timeout: kept only where pytest-timeout is")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def trainer_python() -> Path:
    """A Python that has Ultralytics; built first where it must be, in minutes."""
    return environments.trainer_python("ultralytics")


@pytest.fixture(scope="session")
def promtool() -> Path:
    return environments.debian_tool("prometheus", "promtool")
