"""Where a run can go on: the newest checkpoint that is whole and unfinished.

The trainer's own last.pt if it is valid; else the newest valid copy in the vault, which is put in
its place; else nothing, and the run begins afresh and says so. Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from yolowatch.edges.checkpoints import CheckpointReport, inspect
from yolowatch.edges.files import remove
from yolowatch.edges.vault import Vault, VaultedCheckpoint, VaultOverBudget
from yolowatch.model.plan import Start
from yolowatch.model.receipt import ResumePoint
from yolowatch.model.run import EmergencySave
from yolowatch.trainers.checkpoint import (
    CheckpointFacts,
    CheckpointUnreadable,
    read_facts,
    resumable,
)

EMERGENCY = "emergency.pt"
"""In the vault's directory; see `hook.levers.emergency`, which writes it."""


class NothingToResume(ValueError):
    """The checkpoint is that of a finished run: it must be neither resumed nor overwritten."""


def find_resume_point(
    last: Path,
    vault: Vault,
    stored: VaultedCheckpoint | None,
    taken: Container[Path] | None = None,
    epochs: int | None = None,
) -> ResumePoint:
    """The resume point of a run whose trainer saves to `last`; restores it where it is broken.

    `stored` is the copy that was taken last: while `last` is still the file it was taken from,
    every byte has been checked already. Only copies in `taken` are of this run; None: all are. Of a
    training whose `epochs` are all trained there is nothing to resume.
    Raises OSError or VaultRefused where files cannot be handled, and NothingToResume.
    """
    if stored is not None and _is_source(last, stored):
        report, reason = _report_of(stored), "the checkpoint is the one in the vault"
    else:
        report, reason = inspect(last, with_sha256=True), "the checkpoint is whole"
    if report.valid and report.facts is not None:
        try:
            facts = read_facts(report.facts)
        except CheckpointUnreadable as error:
            return _from_vault(last, vault, taken, f"{last.name} cannot be read ({error})", epochs)
        _require_unfinished(last, facts, epochs)
        return ResumePoint(Start.RESUME, reason, str(last), facts.epoch, report.sha256)
    return _from_vault(last, vault, taken, f"{last.name} {report.reason}", epochs)


def take_emergency(
    last: Path, vault: Vault, told: EmergencySave, attempt: int, epochs: int | None
) -> ResumePoint | None:
    """Put what the failed training saved of itself in the place of `last`, by way of the vault.

    None where there is no such file, where it is not what was told, or where it is larger than the
    vault may be: then it is left alone.
    Raises OSError or VaultRefused where files cannot be handled.
    """
    path = vault.path / EMERGENCY
    report = inspect(path, follow_links=False)
    if not report.valid or report.facts is None:
        return None
    try:
        facts = read_facts(report.facts)
    except CheckpointUnreadable:
        return None
    if facts.epoch != told.epoch or resumable(facts) is not None:
        return None
    if epochs is not None and told.epoch + (not told.complete) >= epochs:
        return None
    try:
        copy = vault.store_checkpoint(path, attempt, told.epoch)
    except VaultOverBudget:
        return None
    vault.restore(copy, last)
    reason = "the failed training saved its state after its last optimizer step"
    return ResumePoint(Start.RESUME, reason, str(last), told.epoch, copy.sha256, told)


def forget_emergency(vault: Vault) -> None:
    """It was taken, and the training that resumes from it is about to start."""
    remove(vault.path / EMERGENCY)


def _from_vault(
    last: Path,
    vault: Vault,
    taken: Container[Path] | None,
    obstacle: str,
    epochs: int | None,
) -> ResumePoint:
    copy = vault.newest_valid()
    # The newest: when it is of an earlier training in the same directory, all others are too.
    if copy is None or (taken is not None and copy.copy not in taken):
        return ResumePoint(Start.AFRESH, f"{obstacle}, and no copy is in the vault")
    facts = read_facts(copy.facts or b"")
    _require_unfinished(copy.copy, facts, epochs)
    vault.restore(copy, last)
    reason = f"{obstacle}; the copy in the vault took its place"
    return ResumePoint(Start.RESUME, reason, str(last), facts.epoch, copy.sha256)


def _require_unfinished(path: Path, facts: CheckpointFacts, epochs: int | None) -> None:
    obstacle = resumable(facts)
    if obstacle is None and epochs and facts.epoch is not None and facts.epoch + 1 >= epochs:
        # Not every trainer strips its last checkpoint: YOLOv9's train.py leaves it as it was.
        obstacle = f"it is of the last of {epochs} epochs, and nothing is left to train"
    if obstacle is not None:
        raise NothingToResume(f"{path} cannot be resumed: {obstacle}")


def _is_source(last: Path, stored: VaultedCheckpoint) -> bool:
    try:
        status = last.stat()
    except OSError:
        return False
    now = (status.st_mtime_ns, status.st_ino, status.st_size)
    return now == (stored.source_mtime_ns, stored.source_inode, stored.size_bytes)


def _report_of(stored: VaultedCheckpoint) -> CheckpointReport:
    return CheckpointReport(True, sha256=stored.sha256, facts=stored.facts)
