"""Who may act on a run directory: one lease for `yolowatch run`, one for services.

Each is a lock that ends with its holder, however that ends. A `yolowatch run` takes its own
whatever a service does, since it outranks services; a service asks for both before it acts. They
lie in the vault's directory, which is the user's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from yolowatch.edges.vault import NAME

RUN, SERVICE = "run", "service"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class LeaseHeld(Exception):
    """Somebody else holds it; the text is a sentence that names them."""


class Lease:
    """A held lease; raises LeaseHeld where it is another's, OSError where none can be made."""

    def __init__(self, run_dir: Path, kind: str) -> None:
        directory = run_dir / NAME
        directory.mkdir(mode=0o700, exist_ok=True)
        self._descriptor = os.open(directory / f"{kind}.lease", _FLAGS, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            holder = _holder(self._descriptor)
            os.close(self._descriptor)
            name = "`yolowatch run`" if kind == RUN else "yolowatch daemon"
            raise LeaseHeld(f"another {name} ({holder}) looks after {run_dir}") from None
        except OSError:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        """Let go of it; it is also gone when this process ends."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1


def require_free(run_dir: Path, kind: str) -> None:
    """Raise LeaseHeld where somebody holds it now, and take nothing."""
    if (run_dir / NAME / f"{kind}.lease").exists():
        Lease(run_dir, kind).release()


def _holder(descriptor: int) -> str:
    """The process that wrote its number there; not to be trusted, only to be read."""
    word = os.pread(descriptor, 32, 0).strip()
    return f"process {word.decode()}" if word.isdigit() else "its process is not known"
