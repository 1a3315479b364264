"""The makers of environments and tools, on small packages that pip really installs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests import environments
from tests.environments import Environment, Problem, debian_tool, trainer_python

SMALL = Environment(("iniconfig==2.0.0",), "import iniconfig, sortedcontainers")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own in which "small" is a trainer and a package of 30 kB stands for torch."""
    monkeypatch.setenv("YOLOWATCH_CACHE", str(cache))
    monkeypatch.delenv("YOLOWATCH_TRAINER_PYTHON", raising=False)
    monkeypatch.setattr(environments, "TORCH_PAIR", ("sortedcontainers==0.0.0",))
    monkeypatch.setattr(environments, "ANY_TORCH_PAIR", ("sortedcontainers",))
    monkeypatch.setattr(environments, "PROVE_TORCH", "import sortedcontainers")
    monkeypatch.setattr(environments, "TORCH_NEEDS_BYTES", 0)
    monkeypatch.setitem(environments.ENVIRONMENTS, "small", SMALL)
    return cache / "environments"


def test_an_environment_is_built_once_by_whoever_asks_first_and_again_if_unfinished(
    small: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pythons: list[Path] = []
    askers = [
        threading.Thread(target=lambda: pythons.append(trainer_python("small"))) for _ in range(2)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(pythons) == 2
    assert pythons[0] == pythons[1]
    python, said = pythons[0], capfd.readouterr().err
    assert "another process is building" in said
    assert "taking the newest pair" in said
    where = "import iniconfig, sortedcontainers as s; print(iniconfig.__file__, s.__file__)"
    files = subprocess.check_output([python, "-c", where], text=True).split()
    rooms = [Path(file).relative_to(small).parts[0] for file in files]
    assert [room.split("-")[0] for room in rooms] == ["small", "torch"]

    marker = python.parents[1] / "ready"
    finished = marker.stat().st_mtime_ns
    assert trainer_python("small") == python
    assert marker.stat().st_mtime_ns == finished

    marker.unlink()
    assert trainer_python("small") == python
    assert "building it anew" in capfd.readouterr().err
    assert marker.exists()


def test_a_changed_recipe_leaves_the_finished_environment_alone(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trainer_python("small")
    newer = Environment(("iniconfig==2.1.0",), SMALL.proof)
    monkeypatch.setitem(environments.ENVIRONMENTS, "small", newer)
    after = trainer_python("small")
    assert after != before
    for python, version in ((before, "2.0.0"), (after, "2.1.0")):
        question = "from importlib.metadata import version; print(version('iniconfig'))"
        assert subprocess.check_output([python, "-c", question], text=True).strip() == version


def test_what_does_not_import_is_one_sentence_and_stays_unfinished(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        environments.ENVIRONMENTS,
        "small",
        Environment(
            ("iniconfig==2.0.0",), "raise ImportError('libGL.so.1: cannot open shared object file')"
        ),
    )
    finished = set(small.glob("small-*/ready"))
    with pytest.raises(Problem, match=r"libgl1 \(run 'make deps' as root\)"):
        trainer_python("small")
    assert set(small.glob("small-*/ready")) == finished


def test_what_pip_cannot_find_is_one_sentence(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "TORCH_PAIR", ("sortedcontainers==0.0.1",))
    monkeypatch.setattr(environments, "ANY_TORCH_PAIR", ("sortedcontainers==0.0.2",))
    with pytest.raises(Problem, match="No matching distribution found"):
        trainer_python("small")


def test_too_small_a_disk_is_one_sentence(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "TORCH_PAIR", ("sortedcontainers==0.0.3",))
    monkeypatch.setattr(environments, "TORCH_NEEDS_BYTES", 10**18)
    with pytest.raises(Problem, match="make room, or name a folder in YOLOWATCH_CACHE"):
        trainer_python("small")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("/nowhere/python", "which is no program"),
        (sys.executable, "in which small does not import"),
    ],
)
def test_a_named_python_is_checked(
    given: str, sentence: str, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLOWATCH_TRAINER_PYTHON", given)
    monkeypatch.setitem(environments.ENVIRONMENTS, "small", Environment((), "import no_trainer"))
    with pytest.raises(Problem, match=sentence):
        trainer_python("small")


def test_a_named_python_is_taken_as_it_is(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLOWATCH_TRAINER_PYTHON", sys.executable)
    monkeypatch.setitem(environments.ENVIRONMENTS, "small", Environment((), "import json"))
    monkeypatch.setattr(environments, "_build_base", None)  # nothing is built
    assert trainer_python("small") == Path(sys.executable)


def test_a_tool_that_no_package_has_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLOWATCH_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problem, match="this is no Debian"):
        debian_tool("prometheus", "promtool")


def test_promtool_really_checks_rules(promtool: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("groups: [{name: a, rules: [{record: 'a:b:c', expr: 'sum(up'}]}]\n")
    checked = subprocess.run([promtool, "check", "rules", rules], capture_output=True, text=True)
    assert checked.returncode != 0
    assert "unclosed left parenthesis" in checked.stdout + checked.stderr


def test_the_command_line_prints_only_the_path(repo_root: Path, promtool: Path) -> None:
    asked = subprocess.run(
        [sys.executable, "tests/environments.py", "promtool"],
        cwd=repo_root,
        env=os.environ | {"YOLOWATCH_TRAINER_PYTHON": ""},
        capture_output=True,
        text=True,
    )
    assert (asked.returncode, asked.stdout) == (0, f"{promtool}\n")


@pytest.mark.trainers
def test_the_trainers_python_has_the_trainer(trainer_python: Path, tmp_path: Path) -> None:
    program = "import ultralytics; print(ultralytics.__version__)"
    answer = subprocess.run(
        [trainer_python, "-c", program],
        env=os.environ | environments.trainer_variables(tmp_path),
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    # A first import also tells where it put its settings.
    assert answer.stdout.splitlines()[-1].startswith("8.")
