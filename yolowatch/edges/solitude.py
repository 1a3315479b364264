"""One daemon at a time for the same sockets: a lock that ends with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from yolowatch.errors import AddressError

_NAME = "daemon.lock"
_SOCKETS = ("hook.sock", "control.sock")


@contextlib.contextmanager
def only_daemon(directory: Path, handed: Collection[str] = ()) -> Iterator[None]:
    """Hold the lock of the sockets' directory, which is made; what a killed daemon left is removed.

    The sockets `handed` over by a service manager are left.
    Raises AddressError where another daemon holds it.
    """
    try:
        directory.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        lock = os.open(directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise AddressError(
            f"The sockets' directory {directory} cannot be made ({error.strerror}): make it "
            "writable for you."
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AddressError(
                f"Another yolowatch daemon serves {directory}: `yolowatch status` asks it."
            ) from None
        for name in _SOCKETS:
            if name not in handed:
                (directory / name).unlink(missing_ok=True)
        yield
    finally:
        os.close(lock)
