"""systemd and the service that it started: readiness, signs of life, sockets handed over.

The protocols are sd_notify(3) and sd_listen_fds(3): two dozen lines over a socket, for which the
libraries are unmaintained or need a compiler. Where nobody asked, all of this does nothing. Who
calls `alive` is what the watchdog watches: it is called by the loop, never by a thread of its own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from pathlib import Path

from yolowatch.errors import AddressError
from yolowatch.model.printable import printable

_FIRST_DESCRIPTOR = 3
_SIGNS_A_LIMIT = 3  # of life within the watchdog's limit: one that is late is not the end
_STATUS_COLUMNS = 300


class ServiceManager:
    """What the environment says of systemd; taken out of it, since no child may speak for us."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._address = environment.pop("NOTIFY_SOCKET", "")
        limit = _own(environment, "WATCHDOG_PID", "WATCHDOG_USEC", without_pid=True)
        count = _own(environment, "LISTEN_PID", "LISTEN_FDS")
        names = environment.pop("LISTEN_FDNAMES", "").split(":")
        numbers = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + count)
        self._handed = dict(zip(names, numbers, strict=False))  # one without a name is not ours
        self._pace_seconds = limit / 1e6 / _SIGNS_A_LIMIT if limit else None
        self._due_at = float("-inf")
        self._status = ""
        self.is_ready = False

    def ready(self) -> None:
        """Recovery is done: those who wait for this service may start."""
        self.is_ready = True
        self._tell("READY=1")

    def stopping(self) -> None:
        """It was asked to end, and does."""
        self._tell("STOPPING=1")

    def alive(self, now: float, status: str) -> None:
        """The loop has come round; `now` is monotonic, `status` a sentence for `systemctl`."""
        if status != self._status:
            self._status = status
            self._tell(f"STATUS={printable(status, _STATUS_COLUMNS)}")
        if self._pace_seconds is not None and now >= self._due_at:
            self._due_at = now + self._pace_seconds
            self._tell("WATCHDOG=1")

    def handed(self, name: str, path: Path, kind: int) -> socket.socket | None:
        """The listening socket `name` of the service's socket unit, None where there is none.

        Raises AddressError where it is not the one that is expected at `path`.
        """
        descriptor = self._handed.pop(name, None)
        if descriptor is None:
            return None
        try:
            found = socket.socket(fileno=descriptor)
            listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            fits = found.family == socket.AF_UNIX and found.type == kind and listens
            there = found.getsockname() if fits else None
        except OSError as error:
            raise AddressError(
                f"systemd said that it hands the socket {name} over, and did not "
                f"({error.strerror}): start the service by its unit."
            ) from error
        if there != os.fspath(path):
            raise AddressError(
                f"The socket {name} that systemd hands over is not {path}: make the socket unit "
                "and --socket-dir agree."
            )
        found.set_inheritable(False)
        found.setblocking(False)
        return found

    def _tell(self, line: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # of the abstract namespace
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)  # a manager that is stuck must not stall the loop
                out.sendto(line.encode(), address)
        except OSError:
            pass  # it hears the next one, or its watchdog ends what it does not hear


def _own(
    environment: MutableMapping[str, str], pid: str, name: str, *, without_pid: bool = False
) -> int:
    """The number `name` where it is meant for this process, else 0; both are taken out."""
    meant_for, found = environment.pop(pid, ""), environment.pop(name, "")
    ours = meant_for == str(os.getpid()) or (without_pid and not meant_for)
    return int(found) if ours and found.isascii() and found.isdigit() else 0
