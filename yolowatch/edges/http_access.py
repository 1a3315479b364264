"""Who may come through the HTTP door: the web configuration file that is in force.

The file and the certificates that it names are looked at when somebody connects, at most once a
second, and read again where they have changed: no restart, no signal, no thread. What is wrong then
changes nothing but one sentence; the configuration before it stays in force.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from yolowatch import config
from yolowatch.edges.certificates import server_context
from yolowatch.edges.clock import Clock
from yolowatch.edges.files import read_bounded
from yolowatch.errors import ConfigError
from yolowatch.model.web import WebConfig

_MAX_BYTES = 1 << 20
_LOOK_SECONDS = 1.0
_MOST_REMEMBERED = 128
_NOBODY = "$2b$10$" + "." * 53  # whom a name is compared with that there is not

Signature = tuple[tuple[str, int, int, int] | None, ...]


class Passwords:
    """Checks names and passwords; each pair is worked out once, one at a time, and remembered.

    bcrypt takes a good part of a second on purpose: without a memory every scrape would, and
    without the lock anybody could keep all processors busy.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users
        self._lock = threading.Lock()
        self._known: dict[bytes, bool] = {}
        self._salt = secrets.token_bytes(16)

    def allow(self, header: str | None) -> bool:
        """Whether the value of an Authorization header names a user and their password."""
        if not self._users:
            return True
        name, password = _credentials(header)
        if name is None:
            return False
        key = hashlib.sha256(self._salt + f"{name}:{password}".encode()).digest()
        known = self._known.get(key)
        if known is not None:
            return known
        with self._lock:
            allowed = self._check(name, password)
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[key] = allowed
        return allowed

    def _check(self, name: str, password: str) -> bool:
        import bcrypt  # only where somebody has a password

        hashed = self._users.get(name, _NOBODY).encode()
        try:
            return bcrypt.checkpw(password.encode(), hashed) and name in self._users
        except ValueError:  # a password longer than bcrypt takes is nobody's
            return False


@dataclass(frozen=True)
class Guard:
    """What is in force for one connection."""

    config: WebConfig = field(default_factory=WebConfig)
    context: ssl.SSLContext | None = None
    passwords: Passwords = field(default_factory=lambda: Passwords({}))

    def known(self, connection: ssl.SSLSocket) -> bool:
        """Whether the client's certificate names one that is allowed."""
        allowed = self.config.tls.client_allowed_sans if self.config.tls is not None else ()
        if not allowed:
            return True
        names = (connection.getpeercert() or {}).get("subjectAltName", ())
        return any(each[1] in allowed for each in names if len(each) == 2)


class Access:
    """The guard in force; raises ConfigError where there is none to begin with."""

    def __init__(self, path: Path | None, clock: Clock, say: Callable[[str], None]) -> None:
        self._path, self._clock, self._say = path, clock, say
        self._lock = threading.Lock()
        self._looked_at = clock.monotonic()
        self._signature: Signature = ()
        self._guard = Guard()
        self.trouble: str | None = None  # why the last change was not taken
        if path is not None:
            self._guard = load(path)
            self._signature = self._sign()

    @property
    def encrypted(self) -> bool:
        return self._guard.context is not None

    @property
    def asks(self) -> bool:
        """Whether anybody is kept out."""
        config = self._guard.config
        certificate = config.tls is not None and config.tls.client_auth.startswith("Require")
        return bool(config.users) or certificate

    def guard(self) -> Guard:
        """For a new connection, from any thread."""
        if self._path is None:
            return self._guard
        with self._lock:
            now = self._clock.monotonic()
            if now - self._looked_at >= _LOOK_SECONDS:
                self._looked_at = now
                self._look(self._path)
            return self._guard

    def _look(self, path: Path) -> None:
        signature = self._sign()
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self._guard = load(path)
        except ConfigError as error:
            if self.trouble != str(error):
                self._say(f"the web configuration stays as it was: {error}")
            self.trouble = str(error)
        else:
            self.trouble = None
            self._signature = self._sign()  # other files may be named now
            self._say("the web configuration was read again and is in force")

    def _sign(self) -> Signature:
        tls = self._guard.config.tls
        return tuple(map(_stat, (str(self._path), *(tls.files if tls is not None else ()))))


def load(path: Path) -> Guard:
    """The guard that a web configuration file describes; raises ConfigError."""
    found = read(path)
    context = server_context(found.tls) if found.tls is not None else None
    return Guard(found, context, Passwords(found.users))


def read(path: Path) -> WebConfig:
    """What the file says, whatever its certificates are; raises ConfigError."""
    try:
        body = read_bounded(path, _MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no regular UTF-8 text below 1 MiB"
        raise ConfigError(f"{path} cannot be read: {reason}.") from None
    return config.web(body, str(path), str(path.absolute().parent))


def _credentials(header: str | None) -> tuple[str | None, str]:
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic" or len(encoded) > 4096:
        return None, ""
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None, ""
    return (name, password) if colon else (None, "")


def _stat(path: str) -> tuple[str, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (path, found.st_ino, found.st_mtime_ns, found.st_size)
