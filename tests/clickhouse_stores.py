"""The places that one suite runs against: the embedded engine, the HTTP path, and a server that the user has.

`ANDON_TEST_CLICKHOUSE` names the server, as a DSN whose database is not touched (password in
`ANDON_CLICKHOUSE_PASSWORD`): each place is a database of its own there, dropped afterwards. The user needs the
rights that docs/clickhouse.md lists, and `DROP DATABASE`.
"""

import atexit
import functools
import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from schemas.errors import StoreUnavailable
from schemas.rows import DeadLetter, Row
from sinks.clickhouse.dsn import Server, Target, parse_dsn, read_password
from sinks.clickhouse.store import Store, open_store
from tests.clickhouse_front import ClickHouseFront

VARIABLE = "ANDON_TEST_CLICKHOUSE"
EMBEDDED, HTTP, SERVER = "embedded", "http", "server"
#: The engine that ships with the tests, both ways.
ENGINE = (EMBEDDED, HTTP)
KINDS = (*ENGINE, SERVER) if os.environ.get(VARIABLE) else ENGINE


class Place(msgspec.Struct, frozen=True):
    """A database to test in, which does not exist yet."""

    kind: str
    target: Target
    password: str | None = None

    def open(self, *, readonly: bool = False) -> Store:
        """Connect to it."""
        return open_store(self.target, password=self.password, readonly=readonly)


@contextmanager
def place(kind: str, folder: Path) -> Iterator[Place]:
    """A fresh place. The embedded one is `folder`'s, and one of those can be open in a process."""
    if kind == EMBEDDED:
        yield Place(kind, parse_dsn(f"chdb://{folder}/db"))
        return
    if kind == HTTP:
        there, password = parse_dsn(_front().dsn), None
    else:
        there, password = parse_dsn(os.environ[VARIABLE]), read_password()
    assert isinstance(there, Server)
    own = Place(kind, msgspec.structs.replace(there, database=f"andon_test_{uuid.uuid4().hex[:12]}"), password)
    try:
        yield own
    finally:
        with own.open() as store:
            store.command(f"DROP DATABASE IF EXISTS {store.database} SYNC")


def counts(store: Store, table: str) -> tuple[int, int]:
    """Rows of a table as they were written, and as they count (`FINAL`)."""
    written = store.query(f"SELECT count() FROM {table}").rows[0][0]
    return int(written), int(store.query(f"SELECT count() FROM {table} FINAL").rows[0][0])


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []

    def clock(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """At once."""
        self.sleeps.append(seconds)
        self.now += seconds


class Recorder:
    """A watch that writes down what it is told."""

    def __init__(self) -> None:
        self.blocks: list[tuple[type[Row], int, float]] = []
        self.waits: list[tuple[str, float, float]] = []
        self.recoveries: list[float] = []
        self.letters: list[DeadLetter] = []
        self.ticks = 0

    def written(self, record: type[Row], rows: Sequence[Row], seconds: float) -> None:
        self.blocks.append((record, len(rows), seconds))

    def waiting(self, error: StoreUnavailable, pause_s: float, waited_s: float) -> None:
        self.waits.append((str(error), pause_s, waited_s))

    def tick(self) -> None:
        self.ticks += 1

    def recovered(self, waited_s: float) -> None:
        self.recoveries.append(waited_s)

    def refused(self, letters: Sequence[DeadLetter]) -> None:
        self.letters += letters


@functools.cache
def _front() -> ClickHouseFront:
    """One for all the tests of this process: each place is a database in it."""
    folder = tempfile.TemporaryDirectory(prefix="andon-front-")
    front = ClickHouseFront(Path(folder.name))
    front.start()

    def end() -> None:
        front.stop()
        folder.cleanup()

    atexit.register(end)
    return front
