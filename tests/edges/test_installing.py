"""The hook in an environment: a real one, with a torch that stands in for the real one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from yolowatch.edges import installing, statedir
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.listener import Listener
from yolowatch.errors import StateError
from yolowatch.hook import addresses
from yolowatch.model.events import Event, HookMessage

SEEN = "import sys; print(sorted(n for n in sys.modules if 'yolowatch' in n), len(sys.meta_path))"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", folder), check=True)
    torch = installing.site_packages(folder) / "torch"
    (torch / "optim").mkdir(parents=True)
    (torch / "__init__.py").write_text("__version__ = '0'\n")
    (torch / "optim" / "__init__.py").touch()
    (torch / "optim" / "optimizer.py").touch()
    return folder


@pytest.fixture
def environment(made: Path) -> Iterator[Path]:
    yield made
    installing.uninstall(made)


def said(environment: Path, text: str, more: Mapping[str, str] | None = None) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("YOLOWATCH")}
    return subprocess.run(
        (environment / "bin" / "python", "-c", text),
        env={**kept, **(more or {})},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_nothing_is_loaded_before_torch_is(environment: Path) -> None:
    bare = int(said(environment, SEEN).rpartition(" ")[2])
    installing.install(environment)
    assert said(environment, SEEN) == f"['yolowatch_start'] {bare + 1}"
    told = said(environment, f"import torch; print(torch.__version__); {SEEN}").splitlines()
    assert told[0] == "0"
    assert "'yolowatch_hook.arming'" in told[1]


def test_it_can_be_switched_off(environment: Path) -> None:
    bare = said(environment, SEEN)
    installing.install(environment)
    assert said(environment, f"import torch; {SEEN}", {"YOLOWATCH": "0"}) == bare


def test_a_launcher_brings_its_own_hook(environment: Path) -> None:
    installing.install(environment)
    told = said(environment, f"import torch; {SEEN}", {"YOLOWATCH_SOCKET": "/nowhere"})
    assert told.startswith("['yolowatch_start']")


def test_installing_again_changes_nothing(environment: Path) -> None:
    packages = installing.install(environment)
    first = {p: p.stat().st_ino for p in (packages / installing.FOLDER).rglob("*")}
    assert installing.install(environment / "bin" / "python") == packages
    assert {p: p.stat().st_ino for p in (packages / installing.FOLDER).rglob("*")} == first


def test_uninstalling_leaves_nothing(environment: Path) -> None:
    packages = installing.site_packages(environment)
    before = sorted(packages.iterdir())
    installing.install(environment)
    said(environment, "import torch")
    assert installing.uninstall(environment)
    assert [p for p in sorted(packages.iterdir()) if p not in before] in (
        [],
        [packages / "__pycache__"],
    )
    assert not installing.uninstall(environment)


def test_what_is_no_environment_is_said(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no Python and no environment"):
        installing.install(tmp_path)
    with pytest.raises(StateError, match="does not say where its packages are"):
        installing.install(Path("/bin/true"))


def test_the_hook_finds_the_users_service(environment: Path, tmp_path: Path) -> None:
    """Without a word to it: where that service listens."""
    installing.install(environment)
    (tmp_path / "yolowatch").mkdir(mode=0o700)
    came, events = threading.Event(), []

    def post(event: Event) -> bool:
        events.append(event)
        if isinstance(event, HookMessage):
            came.set()
        return True

    listener = Listener(
        tmp_path / "yolowatch" / "hook.sock",
        post,
        uids=frozenset({os.geteuid()}),
        clock=SystemClock(),
    )
    listener.start()
    try:
        text = "import torch, time; from yolowatch_hook.agent import agent; agent.start()"
        more = {"XDG_RUNTIME_DIR": str(tmp_path)}
        said(environment, f"{text}; time.sleep(3)", more)
        assert came.wait(60)
    finally:
        listener.close()
    message = next(event for event in events if isinstance(event, HookMessage))
    assert (message.kind, message.fields["late"]) == ("hello", False)


@pytest.mark.parametrize("runtime", ["set", "missing"])
def test_hook_and_daemon_mean_the_same_place(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if runtime == "set":
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    else:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    wanted = str(statedir.service_socket_directory(os.environ))
    assert addresses.service_directories() == [str(statedir.SYSTEM_SOCKETS), wanted]
