"""The outbox's file: its tables, opening it, and running statements in it."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.errors import StateError

VERSION = 1
_BUSY_S = 10.0

_TABLES = """
CREATE TABLE alert (
    alert_id TEXT PRIMARY KEY,
    receiver TEXT NOT NULL,
    group_key TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    sent_at_us INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    payload BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',              -- waiting, delivered, dead
    head INTEGER NOT NULL DEFAULT 0,            -- 1: the first of its group that waits; only such are sent
    put_at_us INTEGER NOT NULL,       -- when it came in, or was replayed
    next_at_us INTEGER NOT NULL DEFAULT 0,      -- not to be tried before
    attempts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,        -- attempts in a row that failed
    begun_at_us INTEGER,              -- an attempt is under way
    replayed INTEGER NOT NULL DEFAULT 0,        -- a person wants it told although it is old
    settled_at_us INTEGER,
    http_status INTEGER,
    detail TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX alert_order ON alert (receiver, group_key, sent_at_us, sequence, alert_id) WHERE state = 'waiting';
CREATE INDEX alert_due ON alert (receiver, next_at_us, priority, sent_at_us) WHERE head = 1;
CREATE INDEX alert_settled ON alert (state, settled_at_us);
CREATE TABLE told (
    receiver TEXT NOT NULL,
    group_key TEXT NOT NULL,
    settled_at_us INTEGER NOT NULL,          -- sent_at and sequence of the last one delivered or given up
    settled_sequence INTEGER NOT NULL,
    delivered_at_us INTEGER NOT NULL,        -- the same of the last one delivered,
    delivered_sequence INTEGER NOT NULL,     -- this less than 0 where that one said that all is over
    standing BLOB,                           -- what the receiver holds, where it must be said again
    resend_at_us INTEGER,
    resend_failures INTEGER NOT NULL DEFAULT 0,
    touched_at_us INTEGER NOT NULL,
    PRIMARY KEY (receiver, group_key)
) WITHOUT ROWID;
CREATE INDEX told_due ON told (receiver, resend_at_us) WHERE standing IS NOT NULL;
CREATE TABLE disabled (receiver TEXT PRIMARY KEY, since_us INTEGER NOT NULL, why TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE record (id INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL);
CREATE TABLE cursor (source TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
"""


def _opened(path: Path) -> sqlite3.Connection:
    """The outbox's database, made where there is none.

    What a transaction has committed survives the process (write-ahead log) and the machine (synchronous FULL).

    Raises:
        StateError: it can't be opened, or is another version's or something else.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)
        database = sqlite3.connect(path.absolute(), timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise StateError(f"the outbox {path} can't be opened: {error}") from error
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN IMMEDIATE")
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        if version == 0 and not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in _TABLES.split(";\n"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {VERSION}")
            version = VERSION
        database.execute("COMMIT")
    except (OSError, sqlite3.Error) as error:
        database.close()
        raise StateError(f"the outbox {path} can't be used: {error}") from error
    if version != VERSION:
        database.close()
        raise StateError(f"the outbox {path} is of version {version}; this Andon reads {VERSION}")
    return database


def _size_of(path: Path) -> int:
    """0 where it is not there: the log comes and goes with connections."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Statements:
    """Runs statements on one connection."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __call__(self, sql: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401 - whatever a column holds
        """Run one."""
        return self._database.execute(sql, values)


class OutboxFile:
    """One connection to the file, shared by threads under one lock.

    Raises:
        StateError: the file can't be opened, read or written, here and in every method.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = _opened(path)
        self._lock = threading.Lock()

    @contextmanager
    def changing(self) -> Iterator[Statements]:
        """A transaction that no other process writes beside; it is durable when this is left."""
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                try:
                    yield Statements(self._database)
                    self._database.execute("COMMIT")
                except BaseException:
                    if self._database.in_transaction:  # on a full disk SQLite has rolled back by itself
                        self._database.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise StateError(f"the outbox {self.path} can't be written: {error}") from error

    @contextmanager
    def reading(self) -> Iterator[Statements]:
        """Statements that change nothing."""
        with self._lock:
            try:
                yield Statements(self._database)
            except sqlite3.Error as error:
                raise StateError(f"the outbox {self.path} can't be read: {error}") from error

    def size_bytes(self) -> int:
        """What it takes on disk, with its write-ahead log."""
        return sum(map(_size_of, (self.path, self.path.with_name(f"{self.path.name}-wal"))))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()
