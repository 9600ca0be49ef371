"""Rows to columns, pure: what of our records goes into which table under which names, ready for one insert.

A record's fields are its table's columns, in order; a time field `…_us` is the column without the suffix.
Cost: 0.2 to 1 µs a row, nearly all of it in C (docs/clickhouse.md).
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.rows import ROW_TYPES, DeadLetter, Row

#: What `DateTime64(6)` can hold: 1900-01-01 up to the last microsecond of 2299. Times outside are clipped to
#: it.
EARLIEST_US = -2_208_988_800_000_000
LATEST_US = 10_413_791_999_999_999

#: Written beside every row: which run wrote it. (`written_at` is the table's own default.)
RUN_COLUMN = "run_id"


class Table(msgspec.Struct, frozen=True):
    """Where a record's rows go: table, column names in order of the fields, and which of them are times."""

    name: str
    columns: tuple[str, ...]
    fields: tuple[str, ...]
    times: tuple[bool, ...]


class Block(msgspec.Struct, frozen=True):
    """One insert: columns in the order of `names`, and the token that names their content."""

    table: str
    names: tuple[str, ...]
    columns: list[Sequence[object]]
    token: str


def table_of(record: type[Row]) -> Table:
    """The table of a record."""
    fields = record.__struct_fields__
    times = tuple(field.endswith("_us") for field in fields)
    columns = tuple(field.removesuffix("_us") for field in fields)
    return Table(record.TABLE, columns, fields, times)


TABLES: dict[type[Row], Table] = {record: table_of(record) for record in ROW_TYPES}


def columns_of(record: type[Row], rows: Sequence[Row]) -> list[list[object]]:
    """The columns of `rows`, all of kind `record`, in the order of its fields; times clipped to what fits."""
    table = TABLES[record]
    values: list[object] = []
    take = values.extend
    for row in rows:
        take(msgspec.structs.astuple(row))
    columns = [values[position :: len(table.fields)] for position in range(len(table.fields))]
    for position, time in enumerate(table.times):
        if time:
            columns[position] = _clipped(columns[position])
    return columns


def block_of(record: type[Row], rows: Sequence[Row], run_id: str) -> Block:
    """One insert of `rows`, all of kind `record` and at least one.

    The token is a hash of table and content, so that the same rows of the same run give the same token. A
    lone surrogate in a text, which UTF-8 can't say, becomes `?`.
    """
    table = TABLES[record]
    columns = columns_of(record, rows)
    try:
        content = msgspec.msgpack.encode(columns)
    except UnicodeEncodeError:
        columns = [[_sayable(value) for value in column] for column in columns]
        content = repr(columns).encode()
    except (
        OverflowError,
        TypeError,
    ):  # an integer past 64 bits, say: the store will refuse the row, not this
        content = repr(columns).encode("utf-8", "replace")
    digest = hashlib.blake2b(content, digest_size=16, person=b"andon-block", salt=_short(table.name)).hexdigest()
    all_columns: list[Sequence[object]] = [*columns, [run_id] * len(rows)]
    return Block(table.name, (*table.columns, RUN_COLUMN), all_columns, f"{run_id}:{digest}")


def refused(row: Row, error: str) -> DeadLetter:
    """The dead letter for a row the store would not take, under a key that is the same each time.

    `topic` is the table, `offset` a hash of the row, `raw` the row as JSON (or, of a dead letter, its own
    bytes,
    shortened: there the store may have refused the size).
    """
    raw = row.raw[:65_536] if isinstance(row, DeadLetter) else _json(row)
    digest = hashlib.blake2b(_json(row), digest_size=8, person=b"andon-refused").digest()
    return DeadLetter(
        topic=f"andon.{row.TABLE}",
        partition=0,
        offset=int.from_bytes(digest, "big") >> 1,
        reason="downstream",
        path="",
        detail=error,
        source=row.source if isinstance(row, DeadLetter) and isinstance(row.source, str) else "",
        channel="",
        raw=raw,
        seen_at_us=_seen_us(row),
    )


def _clipped(times: list[Any]) -> list[object]:
    known = [time for time in times if time is not None] if None in times else times
    try:
        if not known or (min(known) >= EARLIEST_US and max(known) <= LATEST_US):
            return times
    except TypeError:  # something else among them, which the store will refuse
        pass
    return [min(max(time, EARLIEST_US), LATEST_US) if type(time) is int else time for time in times]


def _sayable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_sayable(element) for element in value]
    if isinstance(value, dict):
        return {_sayable(key): _sayable(element) for key, element in value.items()}
    return value


def _json(row: Row) -> bytes:
    try:
        return msgspec.json.encode(msgspec.structs.asdict(row))
    except (UnicodeEncodeError, OverflowError, TypeError):
        return repr(row).encode("utf-8", "replace")


def _seen_us(row: Row) -> int:
    for field in ("seen_at_us", "arrival_us", "minute_us"):
        value = getattr(row, field, None)
        if type(value) is int:
            return min(max(value, EARLIEST_US), LATEST_US)
    return 0


def _short(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()
