"""The vault, with real files."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from yolowatch.edges import copying
from yolowatch.edges.files import sha256
from yolowatch.edges.priority import idle_io, io_priority
from yolowatch.edges.vault import Vault, VaultOverBudget, VaultRefused

WriteCheckpoint = Callable[..., Path]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "weights").mkdir()
    return tmp_path


@pytest.fixture
def last(run_dir: Path) -> Path:
    return run_dir / "weights" / "last.pt"


def copies(run_dir: Path) -> list[str]:
    return sorted(each.name for each in (run_dir / ".yolowatch" / "checkpoints").iterdir())


def test_a_checkpoint_is_stored_found_and_restored(
    run_dir: Path, last: Path, write_checkpoint: WriteCheckpoint
) -> None:
    write_checkpoint(last, facts=b"epoch 4")
    stored = Vault(run_dir).store_checkpoint(last, attempt=0, epoch=4)
    assert stored.sha256 == sha256(last.read_bytes())
    assert stored.size_bytes == last.stat().st_size
    assert stored.facts == b"epoch 4"
    assert stored.seconds is not None
    assert stored.seconds > 0
    assert stored.copy.stat().st_mode & 0o777 == 0o600
    assert (run_dir / ".yolowatch").stat().st_mode & 0o777 == 0o700
    whole = last.read_bytes()
    last.write_bytes(whole[:1000])  # the only last.pt is destroyed
    last.chmod(0o640)
    found = Vault(run_dir).newest_valid()
    assert found is not None
    assert (found.attempt, found.epoch, found.sha256) == (0, 4, stored.sha256)
    assert found.facts == b"epoch 4"
    Vault(run_dir).restore(found, last)
    assert last.read_bytes() == whole
    assert last.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in last.parent.iterdir()] == ["last.pt"]
    last.unlink()
    Vault(run_dir).restore(found, last)
    assert last.read_bytes() == whole


def test_the_newest_two_are_kept(
    run_dir: Path, last: Path, write_checkpoint: WriteCheckpoint
) -> None:
    vault = Vault(run_dir)
    assert vault.newest_valid() is None
    for epoch in range(5):
        vault.store_checkpoint(write_checkpoint(last, facts=b"%d" % epoch), 0, epoch)
    vault.store_checkpoint(write_checkpoint(last, facts=b"afresh"), 1, 0)
    names = copies(run_dir)
    stems = [name.rsplit("-", 1)[0] for name in names]
    assert stems == ["000005-attempt0-epoch4", "000006-attempt1-epoch0"]
    newest = vault.newest_valid()
    assert newest is not None
    assert newest.facts == b"afresh"


def test_the_copies_keep_within_a_budget(
    run_dir: Path, last: Path, write_checkpoint: WriteCheckpoint
) -> None:
    size = write_checkpoint(last, tensor=bytes(100_000)).stat().st_size
    roomy = Vault(run_dir, keep=9, budget_bytes=3 * size)
    for epoch in range(5):
        roomy.store_checkpoint(last, 0, epoch)
    assert [name[:6] for name in copies(run_dir)] == ["000003", "000004", "000005"]
    narrow = Vault(run_dir, keep=9, budget_bytes=2 * size - 1)
    narrow.store_checkpoint(last, 0, 5)
    assert [name[:6] for name in copies(run_dir)] == ["000006"], "the newest alone fits"
    larger = write_checkpoint(last, tensor=bytes(300_000)).stat().st_size
    with pytest.raises(VaultOverBudget, match=r"last\.pt has .* KiB, and all copies .* may take"):
        Vault(run_dir, budget_bytes=larger - 1).store_checkpoint(last, 0, 6)
    assert [name[:6] for name in copies(run_dir)] == ["000006"], "what was there still is"


def test_a_damaged_copy_is_passed_over_and_does_not_count(
    run_dir: Path, last: Path, write_checkpoint: WriteCheckpoint
) -> None:
    vault = Vault(run_dir)
    stored = [
        vault.store_checkpoint(write_checkpoint(last, facts=b"%d" % n), 0, n) for n in range(2)
    ]
    data = bytearray(stored[1].copy.read_bytes())
    data[len(data) // 2] ^= 1
    stored[1].copy.write_bytes(data)
    newest = vault.newest_valid()
    assert newest is not None
    assert newest.epoch == 0
    with pytest.raises(VaultRefused, match="is damaged"):
        vault.restore(stored[1], last)
    assert last.read_bytes() != bytes(data)
    stored[1].copy.write_bytes(data[:1000])  # cut off: the cheap check of pruning sees that
    vault.store_checkpoint(write_checkpoint(last, facts=b"2"), 0, 2)
    epochs = [name.split("epoch")[1][0] for name in copies(run_dir)]
    assert epochs == ["0", "1", "2"], "two whole ones beside the damaged"


def test_a_swapped_copy_is_not_what_was_stored(
    run_dir: Path, last: Path, write_checkpoint: WriteCheckpoint
) -> None:
    stored = Vault(run_dir).store_checkpoint(write_checkpoint(last), 0, 1)
    write_checkpoint(stored.copy, facts=b"another, valid checkpoint")
    assert Vault(run_dir).newest_valid() is None
    with pytest.raises(VaultRefused, match="is not what was stored"):
        Vault(run_dir).restore(stored, last)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 cut off", b"\x80\x02 legacy"])
def test_what_is_not_valid_is_not_stored(run_dir: Path, last: Path, content: bytes) -> None:
    last.write_bytes(content)
    with pytest.raises(VaultRefused, match=r"last\.pt (is|has)"):
        Vault(run_dir).store_checkpoint(last, 0, 0)
    assert copies(run_dir) == []
    with pytest.raises(VaultRefused, match="No such file"):
        Vault(run_dir).store_checkpoint(last.with_name("missing.pt"), 0, 0)


def test_a_copy_names_the_state_of_its_source(
    run_dir: Path, last: Path, write_checkpoint: WriteCheckpoint
) -> None:
    stored = Vault(run_dir).store_checkpoint(write_checkpoint(last), 0, 1)
    status = last.stat()
    assert (stored.source_mtime_ns, stored.source_inode) == (status.st_mtime_ns, status.st_ino)


def test_a_file_written_to_during_the_copy_is_refused(
    run_dir: Path, last: Path, write_checkpoint: WriteCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(last)
    copy_bytes = copying.copy_bytes

    def while_training(source: int, target: int) -> int:
        count = copy_bytes(source, target)
        write_checkpoint(last, facts=b"the next epoch")
        return count

    monkeypatch.setattr(copying, "reflink", lambda *_: False)
    monkeypatch.setattr(copying, "copy_bytes", while_training)
    with pytest.raises(VaultRefused, match="written to while it was copied"):
        Vault(run_dir).store_checkpoint(last, 0, 0)
    assert copies(run_dir) == []


def test_a_trainer_that_writes_all_the_time_never_gets_a_bad_copy_into_the_vault(
    run_dir: Path, last: Path, write_checkpoint: WriteCheckpoint
) -> None:
    contents = [
        write_checkpoint(run_dir / "x.pt", tensor=bytes([n]) * 300_000).read_bytes()
        for n in range(4)
    ]
    last.write_bytes(contents[0])
    vault, stop = Vault(run_dir), threading.Event()

    def train() -> None:
        while not stop.is_set():
            for each in contents:
                with open(last, "wb") as file:
                    file.write(each[:150_000])
                    file.flush()
                    file.write(each[150_000:])
                stop.wait(0.02)

    thread = threading.Thread(target=train)
    thread.start()
    stored = 0
    try:
        for epoch in range(30):
            try:
                assert vault.store_checkpoint(last, 0, epoch).copy.read_bytes() in contents
                stored += 1
            except VaultRefused:
                continue  # caught in the middle of a write: the next one will be stored
    finally:
        stop.set()
        thread.join()
    assert stored
    assert vault.newest_valid() is not None


def test_the_disk_keeps_a_reserve(
    run_dir: Path, last: Path, write_checkpoint: WriteCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "reflink", lambda *_: False)
    write_checkpoint(last)
    with pytest.raises(VaultRefused, match="bytes left, and a copy of"):
        Vault(run_dir, reserve_bytes=1 << 60).store_checkpoint(last, 0, 0)
    assert copies(run_dir) == []
    stored = Vault(run_dir, reserve_bytes=1 << 60).store_file(last)  # originals are small
    assert stored.copy.exists()


def test_originals_are_kept_once_under_their_hash(run_dir: Path) -> None:
    args = run_dir / "args.yaml"
    args.write_bytes(b"batch: 16\n")
    vault = Vault(run_dir)
    first = vault.store_file(args)
    assert first.sha256 == sha256(b"batch: 16\n")
    assert first.copy.read_bytes() == b"batch: 16\n"
    assert first.copy.name == f"{first.sha256}-args.yaml"
    assert vault.store_file(args) == first
    args.write_bytes(b"batch: 8\n")
    second = vault.store_file(args)
    assert {each.name for each in first.copy.parent.iterdir()} == {
        first.copy.name,
        second.copy.name,
    }
    first.copy.write_bytes(b"damaged")
    args.write_bytes(b"batch: 16\n")
    assert vault.store_file(args).copy.read_bytes() == b"batch: 16\n"
    odd = run_dir / os.fsdecode(b"\xff" * 200)
    odd.write_bytes(b"x")
    assert vault.store_file(odd).copy.read_bytes() == b"x"


@pytest.mark.parametrize("inner", ["", "checkpoints"])
def test_a_link_in_the_vaults_place_is_refused(
    run_dir: Path, last: Path, write_checkpoint: WriteCheckpoint, inner: str
) -> None:
    elsewhere = run_dir / "elsewhere"
    elsewhere.mkdir()
    place = run_dir / ".yolowatch" / inner
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(elsewhere)
    with pytest.raises(VaultRefused, match="is no directory"):
        Vault(run_dir).store_checkpoint(write_checkpoint(last), 0, 0)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory away, which needs root")
def test_a_vault_of_another_user_is_refused(
    run_dir: Path, last: Path, write_checkpoint: WriteCheckpoint
) -> None:
    (run_dir / ".yolowatch").mkdir()
    os.chown(run_dir / ".yolowatch", 1234, 1234)
    with pytest.raises(VaultRefused, match="belongs to uid 1234"):
        Vault(run_dir).store_checkpoint(write_checkpoint(last), 0, 0)


def test_kill_9_in_the_middle_of_a_copy(
    run_dir: Path, last: Path, write_checkpoint: WriteCheckpoint
) -> None:
    vault = Vault(run_dir)
    first = vault.store_checkpoint(write_checkpoint(last), 0, 0)
    program = """
import os, signal, sys
from pathlib import Path
from yolowatch.edges.vault import Vault
os.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Vault(Path(sys.argv[1])).store_checkpoint(Path(sys.argv[2]), 0, 1)
"""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, "-c", program, str(run_dir), str(last)]
    assert subprocess.run(arguments, env=environment, check=False).returncode == -9
    newest = vault.newest_valid()
    assert newest is not None
    assert newest.copy == first.copy
    assert len(copies(run_dir)) == 2, "the leftover is there"
    vault.store_checkpoint(last, 0, 1)
    assert [name[:6] for name in copies(run_dir)] == ["000001", "000002"], "and is swept away"


def test_the_threads_own_io_waits_and_only_meanwhile() -> None:
    before, inside = io_priority(), []

    def work() -> None:
        with idle_io() as changed:
            inside.append((changed, io_priority()))
        inside.append((False, io_priority()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if not inside[0][0]:
        pytest.skip("this kernel lets nobody set an I/O priority")
    assert inside[0] == (True, 3 << 13)
    assert inside[1] == (False, before)
    assert io_priority() == before


def test_bytes_are_copied_by_whichever_way_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "source").write_bytes(data)

    def copy() -> bytes:
        with open(tmp_path / "source", "rb") as source, open(tmp_path / "target", "w+b") as target:
            if not copying.reflink(source.fileno(), target.fileno()):
                copied = copying.copy_bytes(source.fileno(), target.fileno())
                assert copied == len(data)
        return (tmp_path / "target").read_bytes()

    assert copy() == data
    monkeypatch.setattr(copying, "reflink", lambda *_: False)
    assert copy() == data
    monkeypatch.setattr(os, "copy_file_range", lambda *_: (_ for _ in ()).throw(OSError(18, "")))
    assert copy() == data
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    assert copy() == data
