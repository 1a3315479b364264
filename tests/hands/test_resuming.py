"""Where a run goes on: checkpoints that are whole, cut off, damaged, finished or another's."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.parts import write_checkpoint
from yolowatch.edges.files import sha256
from yolowatch.edges.vault import Vault, VaultRefused
from yolowatch.hands.resuming import (
    NothingToResume,
    find_resume_point,
    forget_emergency,
    take_emergency,
)
from yolowatch.model.plan import Start
from yolowatch.model.receipt import ResumePoint
from yolowatch.model.run import EmergencySave

PROGRAM = Path(__file__).with_name("programs") / "save_checkpoints.py"


@pytest.fixture
def last(tmp_path: Path) -> Path:
    path = tmp_path / "weights" / "last.pt"
    write_checkpoint(path)
    return path


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path)


@pytest.fixture(scope="session")
def torch_checkpoints(trainer_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch")
    subprocess.run([trainer_python, PROGRAM, folder], check=True)
    return folder


def damaged(content: bytes, how: str) -> bytes:
    match how:
        case "empty":
            return b""
        case "beginning":
            return content[: len(content) // 10]
        case "half":
            return content[: len(content) // 2]
        case "last byte":
            return content[:-1]
        case "one bit":
            middle = len(content) // 2
            return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    raise AssertionError(how)


WAYS = ["empty", "beginning", "half", "last byte", "one bit"]


def test_a_whole_checkpoint_is_resumed_from(last: Path, vault: Vault) -> None:
    before = last.read_bytes()
    point = find_resume_point(last, vault, None)
    reason = "the checkpoint is whole"
    assert point == ResumePoint(Start.RESUME, reason, str(last), 3, sha256(before))
    assert last.read_bytes() == before
    assert not vault.path.exists()


def test_a_checkpoint_that_the_vault_knows_is_not_read_again(last: Path, vault: Vault) -> None:
    stored = vault.store_checkpoint(last, 0, 3)
    before = last.stat()
    with last.open("r+b") as file:  # reading it would find this
        file.write(b"rubbish")
    os.utime(last, ns=(before.st_atime_ns, before.st_mtime_ns))
    point = find_resume_point(last, vault, stored)
    assert point.reason == "the checkpoint is the one in the vault"
    assert (point.epoch, point.sha256) == (3, stored.sha256)


def test_a_checkpoint_that_was_written_since_is_read(last: Path, vault: Vault) -> None:
    stored = vault.store_checkpoint(last, 0, 3)
    content = write_checkpoint(last, 4)
    point = find_resume_point(last, vault, stored)
    assert (point.epoch, point.sha256) == (4, sha256(content))


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_checkpoint_is_replaced_by_the_newest_valid_copy(
    last: Path, vault: Vault, way: str
) -> None:
    vault.store_checkpoint(last, 0, 3)
    newest = write_checkpoint(last, 4)
    stored = vault.store_checkpoint(last, 0, 4)
    last.write_bytes(damaged(write_checkpoint(last, 5), way))
    last.chmod(0o640)
    point = find_resume_point(last, vault, stored, {stored.copy})
    assert (point.start, point.epoch, point.sha256) == (Start.RESUME, 4, sha256(newest))
    assert point.checkpoint == str(last)
    assert point.reason.startswith("last.pt is ")
    assert point.reason.endswith("; the copy in the vault took its place")
    assert last.read_bytes() == newest
    assert last.stat().st_mode & 0o777 == 0o640


def test_a_broken_copy_is_passed_over(last: Path, vault: Vault) -> None:
    older = write_checkpoint(last, 2)
    vault.store_checkpoint(last, 0, 2)
    write_checkpoint(last, 3)
    copy = vault.store_checkpoint(last, 0, 3).copy
    copy.write_bytes(damaged(copy.read_bytes(), "half"))
    last.unlink()
    point = find_resume_point(last, vault, None)
    assert (point.epoch, last.read_bytes()) == (2, older)
    assert point.reason.startswith("last.pt does not exist;")


def test_an_unreadable_pickle_is_a_broken_checkpoint(last: Path, vault: Vault) -> None:
    whole = last.read_bytes()
    vault.store_checkpoint(last, 0, 3)
    write_checkpoint(last, facts=["a", "list"])
    point = find_resume_point(last, vault, None)
    assert "last.pt cannot be read (it is no dictionary)" in point.reason
    assert last.read_bytes() == whole


@pytest.mark.parametrize("way", WAYS)
def test_without_a_copy_the_run_starts_afresh_and_says_so(
    last: Path, vault: Vault, way: str
) -> None:
    broken = damaged(last.read_bytes(), way)
    last.write_bytes(broken)
    point = find_resume_point(last, vault, None)
    assert (point.start, point.checkpoint, point.epoch) == (Start.AFRESH, None, None)
    assert point.reason.endswith(", and no copy is in the vault")
    assert last.read_bytes() == broken, "it is not ours to remove"


@pytest.mark.parametrize(
    ("epoch", "optimizer", "reason"),
    [
        (-1, False, "it is of a finished training"),
        (-1, True, "it is of a finished training"),
        (7, False, "it has no optimizer state, as of a finished training"),
    ],
)
@pytest.mark.parametrize("in_vault", [False, True])
def test_a_finished_training_is_neither_resumed_nor_overwritten(
    last: Path, vault: Vault, epoch: int, optimizer: bool, reason: str, in_vault: bool
) -> None:
    content = write_checkpoint(last, epoch, optimizer=optimizer)
    if in_vault:
        vault.store_checkpoint(last, 0, epoch)
        content = damaged(content, "half")
        last.write_bytes(content)
    with pytest.raises(NothingToResume, match=reason):
        find_resume_point(last, vault, None)
    assert last.read_bytes() == content


def test_a_copy_of_an_earlier_training_is_not_restored(last: Path, vault: Vault) -> None:
    """The same directory, used again with `exist_ok=True`, and a vault that outlived the run."""
    foreign = vault.store_checkpoint(last, 0, 3)
    last.write_bytes(broken := damaged(last.read_bytes(), "half"))
    point = find_resume_point(last, vault, None, frozenset())
    assert point.start is Start.AFRESH
    assert last.read_bytes() == broken
    assert find_resume_point(last, vault, None, {foreign.copy}).start is Start.RESUME


def test_a_file_that_cannot_be_replaced_is_an_error_and_no_fresh_start(
    last: Path, vault: Vault
) -> None:
    vault.store_checkpoint(last, 0, 3)
    last.unlink()
    last.mkdir()  # a directory stands where the checkpoint belongs
    with pytest.raises(VaultRefused, match="cannot be restored to"):
        find_resume_point(last, vault, None)


@pytest.mark.trainers
def test_real_checkpoints_of_torch(torch_checkpoints: Path, last: Path, vault: Vault) -> None:
    shutil.copy(torch_checkpoints / "last.pt", last)
    content = last.read_bytes()
    stored = vault.store_checkpoint(last, 0, 3)
    assert find_resume_point(last, vault, None).epoch == 3
    for way in WAYS:
        last.write_bytes(damaged(content, way))
        assert find_resume_point(last, vault, stored).epoch == 3
        assert last.read_bytes() == content
    shutil.copy(torch_checkpoints / "finished.pt", last)
    with pytest.raises(NothingToResume, match="it is of a finished training"):
        find_resume_point(last, vault, stored)
    assert last.read_bytes() == (torch_checkpoints / "finished.pt").read_bytes()


@pytest.mark.parametrize(("epochs", "done"), [(4, True), (3, True), (5, False), (None, False)])
def test_after_the_last_epoch_nothing_is_left_to_resume(
    last: Path, vault: Vault, epochs: int | None, done: bool
) -> None:
    """YOLOv9's train.py leaves its last checkpoint as it was; its optimizer is still in it."""
    if not done:
        assert find_resume_point(last, vault, None, epochs=epochs).epoch == 3
        return
    with pytest.raises(NothingToResume, match=f"of the last of {epochs} epochs"):
        find_resume_point(last, vault, None, epochs=epochs)


# ---------------------------------------------------------------- what a failed training saved

TOLD = EmergencySave(1.0, 4, True, 100, (1.5,), (), (0.01,))


@pytest.fixture
def emergency(tmp_path: Path) -> Path:
    path = tmp_path / ".yolowatch" / "emergency.pt"
    write_checkpoint(path, epoch=4)
    return path


def test_a_state_beyond_the_budget_of_the_vault_is_left_alone(
    last: Path, emergency: Path, tmp_path: Path
) -> None:
    before = last.read_bytes()
    small = Vault(tmp_path, budget_bytes=emergency.stat().st_size - 1)
    assert take_emergency(last, small, TOLD, 0, 10) is None
    assert last.read_bytes() == before
    assert emergency.exists()


def test_what_it_saved_takes_the_place_of_last(last: Path, vault: Vault, emergency: Path) -> None:
    saved = emergency.read_bytes()
    point = take_emergency(last, vault, TOLD, 0, 10)
    assert point is not None
    assert last.read_bytes() == saved
    assert emergency.exists(), "a daemon that goes on after a killed one takes it once more"
    assert take_emergency(last, vault, TOLD, 0, 10) == point
    forget_emergency(vault)
    assert not emergency.exists()
    assert (point.start, point.epoch, point.sha256) == (Start.RESUME, 4, sha256(saved))
    assert point.unfinished == TOLD
    assert point.rows == 4, "epoch 4 has no row of results yet"
    newest = vault.newest_valid()
    assert newest is not None
    assert newest.copy.read_bytes() == saved


def test_the_last_epoch_can_still_be_finished_but_not_begun(
    last: Path, vault: Vault, emergency: Path
) -> None:
    middle = replace(TOLD, complete=False)
    assert take_emergency(last, vault, middle, 0, 5) is None
    point = take_emergency(last, vault, TOLD, 0, 5)
    assert point is not None
    assert point.epoch == 4


@pytest.mark.parametrize("how", WAYS)
def test_what_it_could_not_save_whole_is_left_alone(
    last: Path, vault: Vault, emergency: Path, how: str
) -> None:
    before = last.read_bytes()
    emergency.write_bytes(damaged(emergency.read_bytes(), how))
    assert take_emergency(last, vault, TOLD, 0, 10) is None
    assert last.read_bytes() == before


def test_a_file_of_another_epoch_or_place_is_left_alone(
    last: Path, vault: Vault, emergency: Path, tmp_path: Path
) -> None:
    before = last.read_bytes()
    assert take_emergency(last, vault, replace(TOLD, epoch=5), 0, 10) is None
    elsewhere = tmp_path / "elsewhere.pt"
    emergency.rename(elsewhere)
    assert take_emergency(last, vault, TOLD, 0, 10) is None
    emergency.symlink_to(elsewhere)
    assert take_emergency(last, vault, TOLD, 0, 10) is None
    assert last.read_bytes() == before
