"""The schema: numbered, frozen plain SQL files, what of them a database has, and bringing it up to date.

Rules for a file `NNNN_name.sql` (a test checks them):

- It is never edited once released: its checksum is recorded where it was applied, and a difference is
  refused.
- Each statement can be run again without harm (`IF NOT EXISTS`, `CREATE OR REPLACE VIEW`): an interrupted
  migration is simply run again, and two processes that migrate at once do the same thing twice.
- A statement ends with `;` at the end of a line. `{database}` stands for the database's name, `{replicated}`
  for the prefix `Replicated` of table engines where the database is a replicated one, and for nothing
  elsewhere.
"""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files

import msgspec

from schemas.errors import StoreRefused
from schemas.rows import ROW_TYPES
from sinks.clickhouse.dsn import quoted
from sinks.clickhouse.store import Store

_NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")
_HISTORY = """
CREATE TABLE IF NOT EXISTS {database}.{history}
(
    number UInt32 COMMENT 'The number in the file name; applied in this order',
    name String COMMENT 'The rest of the file name',
    checksum String COMMENT 'SHA-256 of the file as it was applied',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When'
)
ENGINE = {replicated}ReplacingMergeTree(applied_at)
ORDER BY number
COMMENT 'Which migrations of Andon this database has'
"""


class Migration(msgspec.Struct, frozen=True):
    """One file of SQL."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def __str__(self) -> str:
        """`0001_tables`."""
        return f"{self.number:04}_{self.name}"

    def statements(self) -> list[str]:
        """The file's statements, without the comment lines."""
        lines = [line for line in self.sql.splitlines() if not line.lstrip().startswith("--")]
        parts = re.split(r";[ \t]*(?:\n|$)", "\n".join(lines))
        return [part.strip() for part in parts if part.strip()]


class Series(msgspec.Struct, frozen=True):
    """Migrations that are numbered together: the folder beside this file, and the table that says which are applied."""

    folder: str
    history: str


SCHEMA = Series("migrations", "schema_migrations")


class Applied(msgspec.Struct, frozen=True):
    """A migration that a database has."""

    number: int
    name: str
    checksum: str
    applied_at: datetime


def shipped(series: Series = SCHEMA) -> tuple[Migration, ...]:
    """The migrations that come with this code, in order."""
    found = []
    for entry in (files("sinks.clickhouse") / series.folder).iterdir():
        name = _NAME.match(entry.name)
        if name is not None:
            found.append(Migration(int(name.group(1)), name.group(2), entry.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda migration: migration.number))


def applied(store: Store, series: Series = SCHEMA) -> tuple[Applied, ...]:
    """What the database has, in order; nothing where there is no database or no schema yet."""
    there = store.query(
        "SELECT count() FROM system.tables WHERE database = {database:String} AND name = {history:String}",
        {"database": store.database, "history": series.history},
    )
    if not there.rows[0][0]:
        return ()
    table = f"{quoted(store.database)}.{series.history}"
    history = store.query(f"SELECT number, name, checksum, applied_at FROM {table} FINAL ORDER BY number")  # noqa: S608 - a checked name
    return tuple(Applied(*row) for row in history.rows)


def pending(store: Store, known: Sequence[Migration] | None = None, series: Series = SCHEMA) -> tuple[Migration, ...]:
    """The migrations the database lacks, in order.

    Raises:
        StoreRefused: its history is not a beginning of ours: edited, skipped, or made by a newer Andon.
    """
    ours = tuple(shipped(series) if known is None else known)
    theirs = {entry.number: entry for entry in applied(store, series)}
    for migration in ours:
        entry = theirs.pop(migration.number, None)
        if entry is not None and entry.checksum != migration.checksum:
            raise StoreRefused(
                f"migration {migration} was applied to {store.database!r} on {entry.applied_at:%Y-%m-%d} "
                "with other content than this Andon ships: a released migration must not be edited; put it "
                "back and add a new one"
            )
    if theirs:
        newest = max(theirs)
        latest = ours[-1].number if ours else 0
        raise StoreRefused(
            f"database {store.database!r} was migrated by a newer Andon "
            f"(to {newest:04}_{theirs[newest].name}, this one knows up to {latest:04}): run that version"
        )
    have = {entry.number for entry in applied(store, series)}
    missing = tuple(migration for migration in ours if migration.number not in have)
    if missing and have and missing[0].number < max(have):
        raise StoreRefused(
            f"database {store.database!r} has migration {max(have):04} but not {missing[0]}: its history has a hole"
        )
    return missing


def migrate(
    store: Store, known: Sequence[Migration] | None = None, series: Series = SCHEMA, *, again: bool = False
) -> tuple[Migration, ...]:
    """Bring the database up to date, making it where it does not exist; returns what was applied now.

    With `again` every migration is applied, those too that the database has.

    Raises:
        StoreRefused: the history does not fit (see `pending`), or the user lacks the rights.
    """
    if not store.use_database():
        store.command(f"CREATE DATABASE IF NOT EXISTS {quoted(store.database)}")
        store.use_database()
    todo = pending(store, known, series)
    if again:
        todo = tuple(shipped(series) if known is None else known)
    if not todo:
        return ()
    places = _places(store)
    store.command(filled(_HISTORY, places | {"{history}": series.history}))
    for migration in todo:
        for statement in migration.statements():
            store.command(filled(statement, places))
        store.insert(
            f"{quoted(store.database)}.{series.history}",
            [[migration.number], [migration.name], [migration.checksum]],
            ["number", "name", "checksum"],
            f"{migration}:{migration.checksum}",
        )
    return todo


def empty(store: Store) -> None:
    """Empty the tables that runs write, leaving the schema; for reading the same log anew in another way.

    Raises:
        StoreRefused: the user lacks the rights.
    """
    for record in ROW_TYPES:
        store.command(f"TRUNCATE TABLE {quoted(store.database)}.{record.TABLE}")


def require_current(store: Store) -> None:
    """Pass where the database is up to date.

    Raises:
        StoreRefused: it is not; the message says what to do.
    """
    missing = pending(store)
    if missing:
        names = ", ".join(map(str, missing))
        raise StoreRefused(f"database {store.database!r} lacks the schema of this Andon ({names}): run `andon migrate`")


def in_database(database: str) -> dict[str, str]:
    """What stands for the places of a migration where the database is meant, and where its name is part of another."""
    return {"{database}.": f"{quoted(database)}.", "{database}": database}


def _places(store: Store) -> dict[str, str]:
    engine = store.query("SELECT engine FROM system.databases WHERE name = {name:String}", {"name": store.database})
    return {
        **in_database(store.database),
        "{replicated}": "Replicated" if engine.rows[0][0] == "Replicated" else "",
    }


def filled(statement: str, places: dict[str, str]) -> str:
    """`statement` with what stands for its places, in their order."""
    for place, value in places.items():
        statement = statement.replace(place, value)
    return statement
