"""Replaces files of the user for one plan: original into the vault, a note, compare and swap.

The note says what is about to be replaced. So a plan that is carried out again, because the daemon
was killed in the middle, still knows every file that it has changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from yolowatch.edges import files, plain
from yolowatch.edges.plan_notes import read_note, write_note
from yolowatch.edges.vault import Vault
from yolowatch.hands.difference import difference
from yolowatch.model.receipt import FileChange

MAX_BYTES = 64 << 20  # of a configuration or results file
_EDITED_MEANWHILE = 3  # how often a file is edited anew before it is somebody else's


@dataclass(frozen=True)
class _Note:
    changes: tuple[FileChange, ...] = ()


class Rewriter:
    """The rewriting of one plan; `changes` are those that are in force."""

    def __init__(self, vault: Vault, plan_id: str) -> None:
        self._vault = vault
        self._name = f"{plan_id}.json"
        self._noted = self._read_note()

    @property
    def changes(self) -> tuple[FileChange, ...]:
        """What this plan has changed, also before a restart of the daemon."""
        return tuple(each for each in self._noted if _hash_of(Path(each.path)) == each.after)

    def edit(self, path: Path, edit: Callable[[bytes], bytes]) -> None:
        """Replace one file if the edit changes it.

        Whoever edits it meanwhile keeps what they wrote: the edit is made again, of their file.
        """
        for _ in range(_EDITED_MEANWHILE):
            with contextlib.suppress(files.Changed):
                return self._edit_once(path, edit)
        return self._edit_once(path, edit)

    def _edit_once(self, path: Path, edit: Callable[[bytes], bytes]) -> None:
        if not path.exists():
            return
        old = files.read_bounded(path, MAX_BYTES)
        new = edit(old)
        if new == old:
            return
        stored = self._vault.store_file(path)
        hashes = (stored.sha256, files.sha256(new))
        change = FileChange(str(path), *hashes, str(stored.copy), difference(old, new))
        self._note(change)
        files.replace_file(path, new, files.sha256(old))

    def _note(self, change: FileChange) -> None:
        others = tuple(each for each in self._noted if each.path != change.path)
        earlier = [e for e in self._noted if e.path == change.path and e.after == change.before]
        if earlier:  # edited twice by this plan: what the user had is what came before the first
            diffs = [each for each in (earlier[0].diff, change.diff) if each is not None]
            user = (earlier[0].before, change.after, earlier[0].copy)
            change = FileChange(change.path, *user, "\n".join(diffs) or None)
        self._noted = (*others, change)
        write_note(self._vault, self._name, plain.to_json(_Note(self._noted)).encode())

    def _read_note(self) -> tuple[FileChange, ...]:
        data = read_note(self._vault, self._name)
        try:
            return plain.from_json(_Note, data.decode()).changes if data is not None else ()
        except ValueError:
            return ()  # torn by whoever owns the directory: then nothing is known


def _hash_of(path: Path) -> str | None:
    try:
        return files.sha256(files.read_bounded(path, MAX_BYTES))
    except OSError:
        return None
