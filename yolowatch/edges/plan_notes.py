"""A small file of ours for each plan, beside the copies in the vault: whole or not at all."""

from __future__ import annotations

from yolowatch.edges.files import keep, read_bounded
from yolowatch.edges.vault import Vault, VaultRefused

_NOTES = "notes"
_MAX_BYTES = 1 << 20


def write_note(vault: Vault, name: str, data: bytes) -> None:
    """Replace the note of that name; raises VaultRefused."""
    try:
        keep(vault.directory(_NOTES) / name, data, synced=True)
    except OSError as error:
        raise VaultRefused(f"the note {name} cannot be written: {error.strerror}") from error


def read_note(vault: Vault, name: str) -> bytes | None:
    """What was written under that name; None where nothing can be read."""
    try:
        return read_bounded(vault.path / _NOTES / name, _MAX_BYTES)
    except OSError:
        return None
