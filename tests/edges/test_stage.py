"""Staging the hook, with the real hook and real Pythons."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from yolowatch.edges.stage import StagedHook, stage
from yolowatch.errors import StateError

HOOK = Path(__file__).parents[2] / "yolowatch" / "hook"


def names(staged: StagedHook) -> set[str]:
    return {each.relative_to(staged.path).as_posix() for each in staged.path.rglob("*.py")}


def test_the_hook_is_staged_privately_and_whole(tmp_path: Path) -> None:
    staged = stage(tmp_path)
    assert staged.path == tmp_path / "hook" / staged.sha256[:16]
    for path in (staged.path.parent, staged.path, *staged.path.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
    assert "sitecustomize.py" in names(staged)
    assert "yolowatch_hook/sitecustomize.py" not in names(staged)
    for source in HOOK.rglob("*.py"):
        name = source.relative_to(HOOK).as_posix()
        target = staged.path / (name if name == "sitecustomize.py" else f"yolowatch_hook/{name}")
        assert target.read_bytes() == source.read_bytes()
    assert [each.name for each in (tmp_path / "hook").iterdir()] == [staged.path.name]


def test_a_python_imports_it_from_there(tmp_path: Path) -> None:
    staged = stage(tmp_path)
    program = (
        "import importlib.util as u, yolowatch_hook.wire as w;"
        "print(u.find_spec('sitecustomize').origin, w.VERSION)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],  # the hook takes its own place off the path again
        env={"PYTHONPATH": str(staged.path)},
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert done.stdout == f"{staged.path}/sitecustomize.py 1\n"
    assert done.stderr == ""
    assert stage(tmp_path) == staged, "the caches that Python wrote are no tampering"


def test_the_same_content_is_staged_once(tmp_path: Path) -> None:
    staged = stage(tmp_path)
    inode = staged.path.stat().st_ino
    assert stage(tmp_path) == staged
    assert staged.path.stat().st_ino == inode


def test_another_content_goes_beside_it(tmp_path: Path) -> None:
    first = stage(tmp_path)
    source = tmp_path / "source"
    shutil.copytree(HOOK, source)
    with (source / "wire.py").open("a") as file:
        file.write("# changed\n")
    second = stage(tmp_path, source)
    assert second.path != first.path
    assert first.path.is_dir()


def change_a_file(path: Path) -> None:
    target = path / "sitecustomize.py"
    target.chmod(0o600)
    target.write_text("import os")


def add_a_module(path: Path) -> None:
    (path / "torch.py").write_text("evil = 1")


def open_to_others(path: Path) -> None:
    path.chmod(0o777)


def open_a_part_to_others(path: Path) -> None:
    (path / "yolowatch_hook").chmod(0o770)


def put_a_link(path: Path) -> None:
    target = path / "yolowatch_hook" / "wire.py"
    content = target.read_bytes()
    target.unlink()
    (path.parent / "elsewhere").write_bytes(content)
    target.symlink_to(path.parent / "elsewhere")


def remove_a_module(path: Path) -> None:
    (path / "yolowatch_hook" / "wire.py").unlink()


def replace_all_by_a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


@pytest.mark.parametrize(
    "tamper",
    [
        change_a_file,
        add_a_module,
        open_to_others,
        open_a_part_to_others,
        put_a_link,
        remove_a_module,
        replace_all_by_a_file,
    ],
)
def test_one_that_was_tampered_with_is_never_used(
    tmp_path: Path, tamper: Callable[[Path], None]
) -> None:
    first = stage(tmp_path)
    tamper(first.path)
    second = stage(tmp_path)
    assert second.path.name == f"{first.path.name}-1"
    assert second.sha256 == first.sha256
    assert stage(tmp_path) == second
    assert first.path.exists(), "evidence is kept"


def test_one_that_is_tampered_with_again_and_again_is_an_error(tmp_path: Path) -> None:
    for _ in range(8):
        add_a_module(stage(tmp_path).path)
    with pytest.raises(StateError, match="changed 8 times by somebody else"):
        stage(tmp_path)


def test_what_stands_in_the_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"cannot be staged in .*No such file.*--state-dir"):
        stage(tmp_path / "missing")
    (tmp_path / "hook").mkdir(mode=0o755)
    with pytest.raises(StateError, match="closed to others"):
        stage(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StateError, match="install yolowatch again"):
        stage(tmp_path, tmp_path / "empty")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory away, which needs root")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    stage(tmp_path)
    os.chown(tmp_path / "hook", 1234, 1234)
    with pytest.raises(StateError, match="a directory of yours"):
        stage(tmp_path)


def test_many_at_once_agree(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from yolowatch.edges.stage import stage
print(stage(Path(sys.argv[1])).path)
"""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, "-c", program, str(tmp_path)]
    stagings = [
        subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    paths = {each.communicate(timeout=60)[0].strip() for each in stagings}
    assert paths == {str(stage(tmp_path).path)}
    assert len(list((tmp_path / "hook").iterdir())) == 1
