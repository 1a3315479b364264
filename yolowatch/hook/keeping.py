"""What a daemon that comes later must hear too, and the note that is left where none is there."""

import os

from . import wire

_KINDS = ("run", "epoch_end", "checkpoint")
_NOTE = "last-words-%d"


class Kept:
    """The newest message of each kind that stands for more than a moment, in that order."""

    def __init__(self):
        self._fields = {}

    def remember(self, kind, fields):
        if kind in _KINDS:
            self._fields[kind] = fields

    def messages(self):
        """All of them, encoded."""
        return [wire.encode(kind, self._fields[kind]) for kind in _KINDS if kind in self._fields]

    def leave_note(self, data):
        """Write a message that nobody took into the run directory, for the next daemon."""
        run_dir = self._fields.get("run", {}).get("run_dir")
        if not run_dir:
            return
        folder = os.path.join(run_dir, ".yolowatch")
        if not os.path.isdir(folder):
            os.mkdir(folder, 0o700)
        path = os.path.join(folder, _NOTE % os.getpid())
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
