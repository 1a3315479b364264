"""The file that opts a run out: where it counts, whose it must be, and what nobody can see."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from yolowatch.edges.optout import opted_out

NAME = ".yolowatch-ignore"
UID = os.getuid()
NOBODY = 65534


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "runs" / "train"
    path.mkdir(parents=True)
    return path


def test_nothing_opts_out_by_itself(run_dir: Path) -> None:
    assert opted_out(run_dir, NAME, uid=UID, home=run_dir.parents[1]) is False
    assert opted_out(run_dir, NAME, uid=UID, home=None) is False  # up to the mount's root


@pytest.mark.parametrize("level", range(3))
def test_it_counts_in_every_directory_up_to_the_home(run_dir: Path, level: int) -> None:
    home = run_dir.parents[1]
    [run_dir, *run_dir.parents][level].joinpath(NAME).touch()
    assert opted_out(run_dir, NAME, uid=UID, home=home) is True


def test_it_does_not_count_above_the_home(run_dir: Path) -> None:
    run_dir.parents[2].joinpath(NAME).touch()
    assert opted_out(run_dir, NAME, uid=UID, home=run_dir.parents[1]) is False


def test_a_run_directory_that_is_a_link_is_where_it_leads(run_dir: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(run_dir)
    run_dir.joinpath(NAME).touch()
    assert opted_out(link, NAME, uid=UID, home=None) is True


def test_a_directory_that_is_not_there_yet_is_opted_out_from_above(run_dir: Path) -> None:
    run_dir.parent.joinpath(NAME).touch()
    assert opted_out(run_dir / "exp2", NAME, uid=UID, home=run_dir.parents[1]) is True


@pytest.mark.skipif(UID != 0, reason="only root can make files of several users")
def test_a_strangers_file_does_not_count(run_dir: Path) -> None:
    shared = run_dir.parent
    os.chown(shared, 1003, -1)
    mark = shared / NAME
    mark.touch()
    for owner, counts in ((1001, True), (1002, False), (1003, True), (0, True)):
        os.chown(mark, owner, -1)
        assert opted_out(run_dir, NAME, uid=1001, home=None) is counts


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Looks as a user who owns nothing here; who is no root looks as they are."""
    os.seteuid(NOBODY if UID == 0 else UID)
    try:
        yield
    finally:
        os.seteuid(UID)


def test_where_nobody_may_look_it_is_unknown() -> None:
    with tempfile.TemporaryDirectory() as name:
        home, closed = Path(name), Path(name) / "runs" / "train"
        closed.mkdir(parents=True)
        home.chmod(0o755)
        closed.chmod(0)
        with as_nobody():
            assert opted_out(closed, NAME, uid=NOBODY, home=home) is None
        closed.parent.joinpath(NAME).touch()
        with as_nobody():
            assert opted_out(closed, NAME, uid=NOBODY, home=home) is True
        closed.chmod(0o700)
