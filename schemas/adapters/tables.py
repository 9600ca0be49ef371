"""Opening a table: CSV (plain or gzip), Parquet and OCEL 2.0 logs as rows of text cells.

What a file is, is told by its first bytes where the mapping does not say. A row that can't be split into the
table's columns is a `BadRow`, and reading goes on behind it. Memory: one row, or one batch of a Parquet file.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec
import numpy as np
import orjson

from schemas.adapters.mapping import Table
from schemas.decode import Reason
from schemas.errors import SettingsError, SourceError
from schemas.problems import Problem

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_OTHERS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"SQLite": 'an SQLite database (an OCEL 2.0 log? set format = "ocel2")',
}
DELIMITERS = {"tab": "\t", "\\t": "\t", "space": " "}
_BYTE_ORDER_MARK = "\ufeff"


class BadRow(msgspec.Struct, frozen=True, gc=False):
    """A row that is not one of this table: why, and its cells as far as they could be told.

    `path` is the offending field where the row is a record of its own, and `raw` that record.
    """

    detail: str
    cells: list[str]
    reason: Reason = "transport"
    path: str = ""
    raw: bytes = b""


class OpenTable(Protocol):
    """A table whose columns are known and whose rows can be read, more than once.

    `timestamps` and `numbers` are columns that the file itself types so: their cells are written as ISO 8601, and
    with a point.
    """

    names: list[str]
    timestamps: frozenset[str]
    numbers: frozenset[str]

    def rows(self) -> Iterator[list[str] | BadRow]:
        """The rows, in the file's order; lines without anything in them are no rows.

        Raises:
            SourceError: the file can't be read on.
        """
        ...

    def link_rows(self) -> Iterator[list[str] | BadRow]:
        """The rows that links are read from: all rows, and what else the file says of what belongs to what."""
        ...

    def position(self) -> float:
        """How far the running `rows` has come, 0 to 1."""
        ...


def open_table(table: Table, path: str) -> OpenTable:
    """Open the table in the file `path` and read its columns.

    Raises:
        SourceError: the file is not there or can't be read as such a table.
        SettingsError: what reads its format is not installed.
    """
    with _readable(path):
        with Path(path).open("rb") as file:
            head = file.read(6)
        size = Path(path).stat().st_size
    if not head:
        raise SourceError(f"{path}: is empty")
    kind = table.format
    if kind == "ocel2":
        from schemas.adapters.ocel import OcelTable  # noqa: PLC0415 - it needs the records above

        return OcelTable(path)
    if kind == "auto":
        kind = "parquet" if head.startswith(_PARQUET) else "csv"
    if kind == "parquet":
        return _ParquetTable(path)
    for magic, what in {**_OTHERS, _PARQUET: "a Parquet file (set format)"}.items():
        if head.startswith(magic):
            raise SourceError(f"{path}: is {what}, not CSV; give the table as CSV (gzip too) or Parquet")
    return _CsvTable(table, path, size, packed=head.startswith(_GZIP))


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Errors of reading, as what the caller can do about them."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SourceError(f"{path}: can't be read: {reason}") from error
    except UnicodeError as error:
        raise SourceError(f"{path}: is not in the encoding that the mapping names: {error}") from error


class _CsvTable:
    timestamps: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()

    def __init__(self, table: Table, path: str, size: int, *, packed: bool) -> None:
        self._table = table
        self._path = path
        self._size = max(size, 1)
        self._packed = packed
        self._raw: IO[bytes] | None = None
        self._position = 0.0
        self._ended = False
        self._has_header = table.header if table.header is not None else not table.columns
        with _readable(path), ExitStack() as stack:
            try:
                first = next(self._reader(stack), []) if self._has_header else []
            except csv.Error as error:
                raise SourceError(f"{path}: its header line is not CSV: {error}") from error
        self.names = list(table.columns) or [name.strip() for name in first]
        if not self.names:
            raise SourceError(f"{path}: has no header line")

    def position(self) -> float:
        return self._position

    def link_rows(self) -> Iterator[list[str] | BadRow]:
        return self.rows()

    def rows(self) -> Iterator[list[str] | BadRow]:
        with ExitStack() as stack:
            self._position = 0.0
            with _readable(self._path):
                reader = self._reader(stack)
                if self._has_header:
                    next(reader, None)
            width, count = len(self.names), 0
            while True:
                try:
                    with _readable(self._path):
                        for row in reader:
                            count += 1
                            if not count & 1023:
                                self._note_position()
                            if self._ended:  # only a quote that is still open reads on for more
                                yield BadRow(
                                    "is not CSV: the file ends before the row does (a quote is never closed)", row
                                )
                            elif len(row) == width:
                                yield row
                            elif any(cell.strip() for cell in row):
                                yield self._judge(row, width)
                        break
                except csv.Error as error:
                    yield BadRow(f"is not CSV: {error}", [])
            self._position = 1.0

    def _judge(self, row: list[str], width: int) -> list[str] | BadRow:
        if len(row) > width and not any(cell.strip() for cell in row[width:]):
            return row[:width]
        return BadRow(f"has {len(row)} cells, the table has {width} columns", row)

    def _note_position(self) -> None:
        if self._raw is not None:
            self._position = min(self._raw.tell() / self._size, 1.0)

    def _note_end(self) -> Iterator[str]:
        """No more lines; asked for them, the file has ended."""
        self._ended = True
        yield from ()

    def _reader(self, stack: ExitStack) -> Iterator[list[str]]:
        table, self._ended = self._table, False
        self._raw = stack.enter_context(Path(self._path).open("rb"))  # noqa: SIM115 - closed by the stack
        stream: IO[bytes] = self._raw
        if self._packed:
            unpacked = stack.enter_context(gzip.GzipFile(fileobj=self._raw))
            stream = stack.enter_context(io.BufferedReader(unpacked, 1 << 17))
        text = stack.enter_context(io.TextIOWrapper(stream, table.encoding, errors="surrogateescape", newline=""))
        for _ in range(table.skip_lines):
            text.readline()
        first = text.readline().removeprefix(_BYTE_ORDER_MARK)
        return csv.reader(
            chain([first] if first else (), text, self._note_end()),
            delimiter=DELIMITERS.get(table.delimiter, table.delimiter),
            quotechar=table.quote or None,
            quoting=csv.QUOTE_MINIMAL if table.quote else csv.QUOTE_NONE,
            escapechar=table.escape or None,
        )


class _ParquetTable:
    def __init__(self, path: str) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 - only who reads Parquet needs it
            import pyarrow.parquet  # noqa: PLC0415 - as above
        except ImportError:
            expected = "Parquet needs pyarrow: pip install 'andon[parquet]'"
            raise SettingsError([Problem(path, "table.format", '"parquet"', expected)]) from None
        self._arrow: Any = pa
        self._path = path
        self._position = 0.0
        with self._opened() as file:
            schema = file.schema_arrow
            self._rows = max(file.metadata.num_rows, 1)
        self.names: list[str] = list(schema.names)
        kinds = {field.name: _own_kind(pa, field.type) for field in schema}
        temporal = (pa.types.is_timestamp, pa.types.is_date)
        numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
        self.timestamps = frozenset(name for name, kind in kinds.items() if any(test(kind) for test in temporal))
        self.numbers = frozenset(name for name, kind in kinds.items() if any(test(kind) for test in numeric))

    def position(self) -> float:
        return self._position

    def link_rows(self) -> Iterator[list[str] | BadRow]:
        return self.rows()

    def rows(self) -> Iterator[list[str] | BadRow]:
        done = 0
        with self._opened() as file:
            for batch in file.iter_batches(batch_size=8_192):
                texts = [self._texts(column) for column in batch.columns]
                yield from (list(cells) for cells in zip(*texts, strict=True))
                done += batch.num_rows
                self._position = done / self._rows

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            with _readable(self._path), self._arrow.parquet.ParquetFile(self._path) as file:
                yield file
        except self._arrow.ArrowException as error:
            raise SourceError(f"{self._path}: can't be read as Parquet: {error}") from error

    def _texts(self, column: Any) -> Sequence[str]:  # noqa: ANN401 - an Arrow array
        kinds = self._arrow.types
        if kinds.is_timestamp(column.type) and column.type.unit == "ns":
            column = column.cast(self._arrow.timestamp("us", tz=column.type.tz), safe=False)
        if kinds.is_dictionary(column.type):
            column = column.dictionary_decode()
        if kinds.is_float32(column.type):  # as a double, 0.1 would be 0.10000000149011612
            return ["" if value is None else str(np.float32(value)) for value in column.to_pylist()]
        try:
            return [_cell(value) for value in column.to_pylist()]
        except OverflowError:
            return [_cell_of(scalar) for scalar in column]


def _own_kind(arrow: Any, kind: Any) -> Any:  # noqa: ANN401 - Arrow's module and its types
    """The type of a column's values, also where they are kept as a dictionary."""
    return kind.value_type if arrow.types.is_dictionary(kind) else kind


def _cell_of(scalar: Any) -> str:  # noqa: ANN401 - an Arrow scalar
    """The same of one value, which may be a time that Python does not have: a text that is none."""
    try:
        return _cell(scalar.as_py())
    except OverflowError:
        return f"{scalar.type} {getattr(scalar, 'value', '')} out of range"


def _cell(value: Any) -> str:  # noqa: ANN401 - whatever Parquet holds
    """A Parquet value as the text of a cell: nothing is empty, a list is JSON, a time ISO 8601."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, list | dict):
        return orjson.dumps(value, default=str).decode()
    return str(value)
