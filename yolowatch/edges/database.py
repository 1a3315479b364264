"""Opens the journal's SQLite file, or says in one sentence why it cannot be used.

WAL with `synchronous=FULL`, so that what was committed outlives a power cut, and many processes
may share the file. A file that is damaged, foreign or of a newer yolowatch is left as it is: the
cure is always to move it aside, never to overwrite it.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from yolowatch.edges.clock import Clock
from yolowatch.edges.mounts import is_network_filesystem
from yolowatch.errors import StateError

SCHEMA_VERSION = 3  # 2: mementos of adopted runs; 3: lessons
APPLICATION_ID = 0x59574A31  # "YWJ1": marks the file as ours
BUSY_SECONDS = 30.0
_SCHEMA = Path(__file__).with_name("journal.sql")


def open_database(path: Path, clock: Clock) -> sqlite3.Connection:
    """A connection in autocommit mode to the journal at `path`, made where there is none.

    Raises StateError.
    """
    _ensure_file(path)
    try:
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise explain(error, path) from error
    try:
        # One transaction, so that a first start of another process is seen whole or not at all.
        connection.execute("BEGIN")
        _check_identity(connection, path)
        connection.execute("COMMIT")
        _set_up(connection, path, clock)
    except sqlite3.Error as error:
        connection.close()
        raise explain(error, path) from error
    except StateError:
        connection.close()
        raise
    return connection


def explain(error: sqlite3.Error, path: Path) -> StateError:
    """What a failure of SQLite means to the user, with the cure."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return StateError(
            f"The journal {path} has been locked by another process for {BUSY_SECONDS:.0f} s: "
            "end what holds it, or give another --state-dir."
        )
    if "full" in text:
        return StateError(
            f"The journal {path} cannot be written because the disk is full: "
            "make room there, or give another --state-dir."
        )
    if "readonly" in text or "unable to open" in text:
        return StateError(
            f"The journal {path} cannot be written ({text}): make the file and its directory "
            "writable for you, or give another --state-dir."
        )
    if isinstance(error, sqlite3.OperationalError) and "malformed" not in text:
        return StateError(
            f"The journal {path} cannot be used ({text}): check its disk and your quota there, "
            "or give another --state-dir."
        )
    return _damaged(path, text)


def _damaged(path: Path, detail: str) -> StateError:
    return StateError(
        f"The journal {path} is damaged ({detail}) and was left untouched: move it aside with "
        f"`mv {path} {path}.damaged`, and the next command starts a new one."
    )


def _ensure_file(path: Path) -> None:
    try:
        # Private from its first moment; SQLite gives its side files the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StateError(
            f"The journal {path} cannot be opened ({error.strerror}): make it writable for you, "
            "or give another --state-dir."
        ) from error


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    application = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not empty and application != APPLICATION_ID:
        raise StateError(
            f"{path} is a database, but no journal of yolowatch: give another --state-dir."
        )
    if version > SCHEMA_VERSION:
        raise StateError(
            f"The journal {path} was written by a newer yolowatch (schema {version}, this one "
            f"knows {SCHEMA_VERSION}): upgrade yolowatch, or give another --state-dir."
        )
    if not empty:
        (result,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if result != "ok":
            raise _damaged(path, str(result).splitlines()[-1])


def _set_up(connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
    # WAL needs memory shared by all users of the file, which machines on a network don't have.
    mode = "delete" if is_network_filesystem(path) else "wal"
    _set_journal_mode(connection, mode, clock)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    if _pragma(connection, "user_version") == SCHEMA_VERSION:
        return
    # Every statement says IF NOT EXISTS, so that two first starts at once do no harm.
    connection.executescript(
        "BEGIN IMMEDIATE;\n"
        + _SCHEMA.read_text("utf-8")
        + f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};\n"
        + "COMMIT;"
    )


def _set_journal_mode(connection: sqlite3.Connection, mode: str, clock: Clock) -> None:
    """The switch fails at once, not after the busy timeout, where another process does the same."""
    deadline = clock.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {mode}")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or clock.monotonic() > deadline:
                raise
            clock.sleep(0.02)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
