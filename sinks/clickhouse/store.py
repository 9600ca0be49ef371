"""One connection to ClickHouse, embedded or server: the same calls, the same settings, the same errors."""

import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from schemas.errors import StoreError, StoreRefused, StoreUnavailable
from sinks.clickhouse.dsn import Embedded, Server, Target, parse_dsn
from sinks.clickhouse.failures import understood
from sinks.clickhouse.late_errors import heed_late_errors
from sinks.clickhouse.native import Layout, layout_of
from sinks.clickhouse.pinned import INSERT, READ, READ_ONLY
from sinks.clickhouse.waiting import Waiting, WaitWatch

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from clickhouse_connect.driver.summary import QuerySummary

#: What a value sent as a query parameter may be.
Parameters = dict[str, Any]

_SELECT = re.compile(r"^\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*\(*\s*(?:SELECT|WITH|FROM)\b", re.IGNORECASE | re.DOTALL)

_UNSUMMED = 3
_BROKEN_OFF = "the answer of ClickHouse at {} broke off"

#: Seconds to make a connection, and without a byte of an answer. While a statement runs the server is asked to
#: send headers that say so, so the second is no limit for long queries.
CONNECT_TIMEOUT_S = 10
ANSWER_TIMEOUT_S = 60

# What the driver and its pool log beside raising, is raised: a failed attempt is told once, by the writer's watch,
# and a block that can't be serialised becomes a dead letter, which says it better.
for _noisy in ("clickhouse_connect", "urllib3.connectionpool"):
    logging.getLogger(_noisy).setLevel(logging.CRITICAL)


class Answer(msgspec.Struct, frozen=True):
    """What a query gave: column names and ClickHouse types, rows in order, and how long it took.

    `more` says that there were rows beyond the limit.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    elapsed_s: float
    more: bool = False


class _Insert(msgspec.Struct, frozen=True):
    """What is known of a table that blocks go into: its columns' types to the driver, and how we lay a block out."""

    types: Sequence[Any]
    layout: Layout | None


class Store:
    """One connection; a context manager. Made by `open_store`.

    The driver is not made for several threads: a call waits until another thread's is through. Memory: one
    query's answer, or one inserted block and its encoding.

    Every method raises `StoreUnavailable` (wait and retry) or `StoreRefused` (a person has to act); `insert`
    also `BlockRejected`.
    """

    def __init__(self, client: "Client", target: Target) -> None:
        self.target = target
        self._client = client
        self._inserts: dict[tuple[str, tuple[str, ...]], _Insert] = {}
        self._alone = threading.RLock()
        self._insert_settings = _known(client, INSERT)
        self._sums_up = False
        self._unsummed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def database(self) -> str:
        """The database that unqualified table names mean."""
        return self.target.database

    def use_database(self) -> bool:
        """Make unqualified names mean our database; False where it does not exist yet."""
        found = self.query("SELECT count() FROM system.databases WHERE name = {name:String}", {"name": self.database})
        if not found.rows[0][0]:
            return False
        self._client.database = self.database
        return True

    def _whole(self, summary: Mapping[str, object]) -> bool:
        """Whether an answer was whole, as far as one can know.

        The driver takes an answer that breaks off in its headers for a good one, and of a long insert the first
        headers come before it is done. The summary is the last of them; it is missed where this server has sent
        one before. Three good answers in a row without: something in front of it takes them out now.
        """
        if len(summary) > 1:  # the other key is the query's id, there in any case
            self._sums_up = isinstance(self.target, Server)
            self._unsummed = 0
        elif self._sums_up:
            self._unsummed += 1
            self._sums_up = self._unsummed < _UNSUMMED
        return not self._unsummed or not self._sums_up

    def command(self, sql: str) -> str:
        """Run a statement whose answer is at most one value (DDL mostly)."""
        try:
            with self._alone:
                return str(self._client.command(sql))
        except Exception as error:
            raise understood(error) from error

    def query(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        limit: int | None = None,
        binary: bool = False,
    ) -> Answer:
        """Run a query and return its rows, at most `limit`.

        `parameters` fill `{name:Type}` places. Text comes as `str`; with `binary`, as the bytes that are
        stored (`str` would show what is not UTF-8 as hex digits, which can't be told from text).
        """
        started = time.perf_counter()
        formats = {"String": "bytes", "FixedString": "native"} if binary else None
        bounds: dict[str, str | int] = {}
        if limit is not None:
            bounds = {"max_result_rows": limit + 1, "result_overflow_mode": "break"}
        try:
            with self._alone:
                found = self._client.query(
                    sql, parameters=parameters, settings=_known(self._client, bounds), query_formats=formats
                )
            rows = [tuple(row) for row in found.result_rows]
        except Exception as error:
            raise understood(error, query=sql) from error
        whole = self._whole(found.summary)
        more = limit is not None and len(rows) > limit
        names, types = tuple(found.column_names), tuple(kind.name for kind in found.column_types)
        if not names:
            if not whole:
                raise StoreUnavailable(_BROKEN_OFF.format(self.target))
            names, types = self._heading(sql, parameters)
        return Answer(names, types, rows[:limit], time.perf_counter() - started, more)

    def written_out(self, sql: str) -> str:
        """`sql` as the engine's own parser reads it: each clause begins a line, comments are gone; nothing is run.

        Line breaks within texts and names are escaped, so that none of these is taken for a clause.

        Raises:
            StoreRefused: it is not one statement.
        """
        from clickhouse_connect.driver.binding import format_str  # noqa: PLC0415 - comes with the driver

        try:
            with self._alone:  # a parameter would be part of the address: proxies take short ones only
                found = self._client.query(f"SELECT formatQuery({format_str(sql)})")
        except Exception as error:
            raise understood(error, query=sql) from error
        return str(found.result_rows[0][0])

    def _heading(self, sql: str, parameters: Parameters | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names and types of a query without rows: the embedded engine sends nothing then, not even those."""
        inner = sql.strip().rstrip(";").rstrip()
        if not _SELECT.match(inner):
            return (), ()
        try:
            with self._alone:
                described = self._client.query(f"DESCRIBE TABLE (\n{inner}\n)", parameters=parameters).result_rows
        except Exception as error:
            raise understood(error) from error
        return tuple(str(row[0]) for row in described), tuple(str(row[1]) for row in described)

    def insert(self, table: str, columns: Sequence[Sequence[object]], names: Sequence[str], token: str) -> None:
        """Insert a block given as columns; when this returns, the rows are in.

        `token` names the block: the same block sent again under it is dropped, and so is another one, so
        derive it from the content. Integers are taken for times as they are (microseconds for
        `DateTime64(6)`). The types of the columns are asked for once a table and connection. Blocks are laid out by
        `native`; what that can't say, by the driver, which refuses or takes it.
        """
        settings: dict[str, Any] = {**self._insert_settings, "insert_deduplication_token": token}
        try:
            with self._alone:
                known = self._insert_into(table, tuple(names))
                block = known.layout.block(columns) if known.layout is not None else None
                if block is None:
                    done = self._client.insert(
                        table,
                        columns,
                        column_names=list(names),
                        column_types=known.types,
                        column_oriented=True,
                        settings=settings,
                    )
                else:
                    done = self._insert_native(table, names, block, settings)
        except Exception as error:
            raise understood(error, inserting=True) from error
        if not self._whole(done.summary):
            raise StoreUnavailable(_BROKEN_OFF.format(self.target))

    def _insert_into(self, table: str, names: tuple[str, ...]) -> _Insert:
        key = (table, names)
        if key not in self._inserts:
            types = self._client.create_insert_context(table, list(names)).column_types
            self._inserts[key] = _Insert(types, layout_of(names, [kind.name for kind in types]))
        return self._inserts[key]

    def _insert_native(
        self, table: str, names: Sequence[str], block: bytes, settings: dict[str, Any]
    ) -> "QuerySummary":
        from clickhouse_connect.driver.compression import get_compressor  # noqa: PLC0415 - comes with the driver

        compression = self._client.write_compression  # as the driver compresses what it serialises itself
        if compression is not None:
            compressor = get_compressor(compression)
            first = compressor.compress_block(block)
            rest = compressor.flush() or b""  # type: ignore[no-untyped-call] # the driver's own has no types
            block = b"".join((first, rest))
        return self._client.raw_insert(
            table, list(names), block, settings=settings, fmt="Native", compression=compression
        )

    def close(self) -> None:
        """Give the connection back; the embedded engine is free for another path then.

        A call that another thread has under way is waited for where the engine is in this process. A server's answer
        is not: who hangs must not be able to keep us.
        """
        if isinstance(self.target, Server):
            self._client.close()
            return
        with self._alone:
            self._client.close()


def open_store(
    dsn: str | Target,
    *,
    password: str | None = None,
    readonly: bool = False,
    connect_timeout_s: int = CONNECT_TIMEOUT_S,
    answer_timeout_s: int = ANSWER_TIMEOUT_S,
) -> Store:
    """Connect to the database that `dsn` names.

    It need not have a schema, nor exist (`migrate` makes both); with `readonly` nothing can be written, and
    an embedded database has to be there already. A server that gives no sign of life within the timeouts (whole
    seconds) is unavailable, now and in every call later.

    Raises:
        SettingsError: `dsn` is not one.
        StoreUnavailable: nobody answers.
        StoreRefused: no rights, the embedded engine is not installed or its database in use.
    """
    target = parse_dsn(dsn) if isinstance(dsn, str) else dsn
    if isinstance(target, Server):
        client = _server_client(target, password, connect_timeout_s, answer_timeout_s)
    elif readonly and not (target.path / "metadata").is_dir():  # another directory is not to be made one, either
        raise StoreRefused(
            f"there is no database at {target.path} yet: `andon replay` or `andon migrate` makes one; "
            "`andon demo` makes its own, in demo-out/andon.db"
        )
    else:
        client = _embedded_client(target)
    try:
        for name, value in _known(client, READ | READ_ONLY if readonly else READ).items():
            client.set_client_setting(name, value)
        store = Store(client, target)
        store.use_database()
    except StoreError:
        client.close()
        raise
    except Exception as error:
        client.close()
        raise understood(error) from error
    return store


def open_store_waiting(
    dsn: str | Target,
    *,
    password: str | None = None,
    readonly: bool = False,
    watch: WaitWatch | None = None,
    waiting: Waiting | None = None,
    connect_timeout_s: int = CONNECT_TIMEOUT_S,
    answer_timeout_s: int = ANSWER_TIMEOUT_S,
) -> Store:
    """`open_store`, again and again while nobody answers: for ever, or until `watch` raises.

    `waiting` replaces the waiting altogether (`watch` is not asked then).

    Raises:
        SettingsError, StoreRefused: as `open_store` does.
    """
    target = parse_dsn(dsn) if isinstance(dsn, str) else dsn
    return (waiting or Waiting(watch=watch)).answered(
        lambda: open_store(
            target,
            password=password,
            readonly=readonly,
            connect_timeout_s=connect_timeout_s,
            answer_timeout_s=answer_timeout_s,
        )
    )


def _embedded_client(target: Embedded) -> "Client":
    import clickhouse_connect  # noqa: PLC0415 - half a second, and only commands that use the store pay it

    try:
        return clickhouse_connect.get_client(interface="chdb", path=str(target.path), tz_mode="aware")
    except ImportError:
        words = "the embedded database needs chDB: pip install 'andon[embedded]', or use --clickhouse http://…"
        raise StoreRefused(words) from None
    except Exception as error:
        raise understood(error) from error


def _server_client(target: Server, password: str | None, connect_timeout_s: int, answer_timeout_s: int) -> "Client":
    import clickhouse_connect  # noqa: PLC0415 - as above
    from clickhouse_connect.driver.httpclient import HttpClient  # noqa: PLC0415 - as above

    try:
        client = clickhouse_connect.get_client(
            host=target.host,
            port=target.port,
            username=target.user,
            password=password or "",
            secure=target.scheme == "https",
            tz_mode="aware",
            connect_timeout=connect_timeout_s,
            send_receive_timeout=answer_timeout_s,
            autogenerate_session_id=False,  # a session would let one statement run at a time, and locks
            query_retries=0,  # retrying is the writer's decision
            dedicated_pool=True,  # its connections end with the store, not with the process
        )
    except Exception as error:
        raise understood(error) from error
    if isinstance(client, HttpClient):
        client.http_retries = 0  # as query_retries: a server that is gone would take two connect timeouts
        heed_late_errors(client)
    return client


def _known(client: "Client", wanted: Mapping[str, str | int]) -> dict[str, str | int]:
    """The settings of `wanted` that this server has and lets this user change."""
    found = client.server_settings
    return {name: value for name, value in wanted.items() if name in found and not found[name].readonly}
