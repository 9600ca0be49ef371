"""A table as canonical messages: a mapping applied to a file.

`messages` reads the table once (twice when the mapping declares links), makes the events of each row and
gives them sorted by (arrival, offset), where arrival is the event time, or what the mapping declares as
`recorded`. The same file gives the same messages, whatever fits into memory. A row that can't be used is a
`RefusedRow`, never an exception, and takes the arrival of the good row before it in the table, so that its
time bends nobody's.

Memory: one run of the sort (see sorting.py), the links (one entry for each pair), and the groups of
`group_by`. Cost: one pass over the rows, a sort, and about 8 µs an event on one core.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as ReadMapping
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec
import orjson

from schemas.adapters.columns import Columns
from schemas.adapters.conditions import compile_when
from schemas.adapters.mapping import Mapping
from schemas.adapters.references import column_references, lint_columns
from schemas.adapters.rules import Made, OpenGroup, Rule, check_bounds, encode, types_of
from schemas.adapters.sorting import Item, Runs
from schemas.adapters.tables import BadRow, OpenTable, open_table
from schemas.adapters.text import CellError
from schemas.adapters.times import rfc3339_writer
from schemas.adapters.values import ValueCompiler
from schemas.decode import Reason
from schemas.errors import SettingsError
from schemas.flaws import is_doubtful
from schemas.problems import Problem
from schemas.toml_lines import KeyPath, line_of

EVENTS_PER_ROW = 1_000
_READING = 0.95
_TELL_EVERY = 5_000
#: Of a file's name, as much as leaves room for the rest of an id.
_NAME_LENGTH = 64


class MappedMessage(msgspec.Struct, frozen=True, gc=False):
    """One canonical message made from a row. `offset` is row x 1000 + the number of the event in the row."""

    arrival_us: int
    offset: int
    raw: bytes


class RefusedRow(msgspec.Struct, frozen=True, gc=False):
    """A row that made no event because something in it can't be used.

    `raw` is a JSON object of the row's cells as text; `path` the column; `arrival_us` that of the good row
    before it in the table (0 at the table's beginning).
    """

    arrival_us: int
    offset: int
    reason: Reason
    path: str
    detail: str
    raw: bytes


class RowCounts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of the rows of one or several tables, or of the records that a code adapter read.

    `without_event` are the rows that no rule fits (refused rows are not among them); `idle_rules` the mapping's
    rules that no row fits. Of records, `left_out` says what those without an event are, and how many.
    """

    read: int
    without_event: int
    idle_rules: tuple[str, ...]
    unit: Literal["rows", "records"] = "rows"
    left_out: tuple[tuple[str, int], ...] = ()


def in_order(runs: Runs, skip: int) -> Iterator[MappedMessage | RefusedRow]:
    """What was sorted, as messages and refused rows, without the first `skip`."""
    for arrival_us, offset, raw, reason, path, detail in islice(runs.merged(), skip, None):
        if reason:
            yield RefusedRow(arrival_us, offset, reason, path, detail, raw)
        else:
            yield MappedMessage(arrival_us, offset, raw)


class TabularSource:
    """The messages of one table. What became of its rows is known when `messages` has given the first.

    Args:
        name: what `{@file}` says, by default the file's name; files of one name that are read together need it, or
            their rows would have the same ids.

    Raises (on making):
        SettingsError: the mapping names columns that the table has not; every one is reported.
        SourceError: the file can't be read.
    """

    def __init__(self, mapping: Mapping, path: str, name: str = "") -> None:
        self._declared = mapping.declared
        self._table: OpenTable = open_table(self._declared.table, path)
        flaws = lint_columns(self._declared, path, self._table.names)
        problems = [flaw.problem(mapping.file, mapping.text) for flaw in flaws]
        if problems:
            raise SettingsError(problems)
        self._columns = Columns(self._declared, self._table.names, self._table.timestamps, self._table.numbers)
        nulls = {"", *self._declared.table.null}
        self._nulls = frozenset(text.strip() for text in nulls)
        self._hashes = any(name == "@hash" for _, name in column_references(self._declared))
        self._name = (name or Path(path).name)[-_NAME_LENGTH:]
        self._passes = 2 if self._declared.link else 1
        self._pass = 0
        self._sorted = False
        self._run_length = 200_000
        self.rows_read = 0
        self.rows_skipped = 0
        self.messages_made = 0
        self.idle_rules: frozenset[int] = frozenset()
        self.on_read: Callable[[], None] | None = None

    def progress(self) -> float:
        """How far reading and sorting have come, 0 to 1."""
        if self._sorted:
            return 1.0
        if self._pass == 0:
            return 0.0
        return _READING * (self._pass - 1 + self._table.position()) / self._passes

    def messages(self, skip: int = 0) -> Iterator[MappedMessage | RefusedRow]:
        """All messages in order, without the first `skip` (those that a resumed job has had).

        Raises:
            SourceError: the file can't be read on.
        """
        self._pass, self._sorted, self.rows_read, self.rows_skipped = 0, False, 0, 0
        with Runs(self._run_length) as runs:
            self._read(runs)
            self._sorted = True
            self.messages_made = len(runs)
            yield from in_order(runs, skip)

    def _read(self, runs: Runs) -> None:
        links = self._read_links()
        self._pass += 1
        writer = rfc3339_writer()
        values = ValueCompiler(self._columns, self._declared.lookup, links, writer)
        rules = [
            Rule(self._declared, number, self._columns, values, writer) for number in range(len(self._declared.event))
        ]
        table = self._declared.table
        bounds = (table.earliest, table.latest)
        time_of, time_column = self._columns.time(table.time) if table.time else (None, "")
        groups = _Groups(runs, wanted=any(rule.grouped for rule in rules))
        arrival = 0
        for row in self._table.rows():
            self.rows_read += 1
            if self.on_read is not None and self.rows_read % _TELL_EVERY == 0:
                self.on_read()
            offset = self.rows_read * EVENTS_PER_ROW
            if isinstance(row, BadRow):
                error = CellError(row.path, row.reason, row.detail)
                runs.add(self._refused(row.cells, arrival, offset, error, row.raw))
                continue
            cells = self._cells(row)
            made: list[Made] = []
            try:
                if time_of is not None and (instant := time_of(cells)) is not None:
                    check_bounds(instant, bounds, time_column, writer)
                for rule in rules:
                    rule.apply(cells, made)
                items = _items(made, offset)
            except CellError as error:
                if any(cells[: len(row)]):
                    runs.add(self._refused(row, arrival, offset, error))
                else:  # the blank rows at the end of many a spreadsheet
                    self.rows_skipped += 1
                continue
            if made:
                arrival = made[0].arrival_us
                runs.extend(items)
                groups.take(made, offset)
            else:
                self.rows_skipped += 1
        groups.finish()
        self.idle_rules = frozenset(number for number, rule in enumerate(rules) if not rule.used)

    def _cells(self, row: list[str]) -> list[str]:
        nulls = self._nulls
        cells = ["" if (text := cell.strip()) in nulls else text for cell in row]
        cells += (str(self.rows_read), row_hash(row) if self._hashes else "", self._name, "", "")
        return cells

    def _refused(self, row: list[str], arrival: int, offset: int, error: CellError, raw: bytes = b"") -> Item:
        if raw:
            return arrival, offset, raw, error.reason, error.column, error.detail
        shown = {}
        for index, cell in enumerate(row):
            name = self._table.names[index] if index < len(self._table.names) else f"column {index + 1}"
            shown[_valid(name)] = _valid(cell)
        return arrival, offset, orjson.dumps(shown), error.reason, error.column, error.detail

    def _read_links(self) -> ReadMapping[str, ReadMapping[str, list[str]]]:
        links: dict[str, dict[str, list[str]]] = {name: {} for name in self._declared.link}
        if not links:
            return links
        self._pass = 1
        columns = self._columns
        compiled = [
            (
                links[name],
                compile_when(link.when, link.when_any, columns.text, columns.normaliser),
                columns.entries(link.key),
                columns.entries(link.value),
            )
            for name, link in self._declared.link.items()
        ]
        for row in self._table.link_rows():
            if isinstance(row, BadRow):
                continue
            cells = self._cells(row)
            for table, test, keys_of, values_of in compiled:
                if test is not None and not test(cells):
                    continue
                try:
                    keys, values = keys_of(cells), values_of(cells)
                except CellError:
                    continue  # the second pass refuses the row when an event is made from that cell
                for key in keys:
                    known = table.setdefault(key, [])
                    known.extend(value for value in values if value not in known)
        return links


def find_column_problems(mapping: Mapping, wrong: Iterable[KeyPath], path: str) -> tuple[Problem, ...]:
    """What is wrong with a mapping for the table in the file at `path`, without using it.

    Args:
        mapping: what is left of it without its mistakes; how the table is read is well.
        wrong: where those are.
        path: the table.

    Raises:
        SourceError: the file can't be read.
    """
    flaws = lint_columns(mapping.declared, path, open_table(mapping.declared.table, path).names)
    return tuple(flaw.problem(mapping.file, mapping.text) for flaw in flaws if not is_doubtful(flaw, wrong))


def count_rows(mapping: Mapping, tables: Sequence[TabularSource]) -> RowCounts:
    """What became of the rows of all `tables` together; a rule is idle if no row of any of them fits it."""
    declared = mapping.declared
    read = sum(table.rows_read for table in tables)
    idle = frozenset.intersection(*(table.idle_rules for table in tables)) if read else frozenset()
    told = []
    for number in sorted(idle):
        types = types_of(declared, declared.event[number])
        line = line_of(mapping.text, ("event", number))
        told.append(f"event[{number}] in line {line} ({', '.join(types[:3])}{', …' if len(types) > 3 else ''})")
    return RowCounts(read, sum(table.rows_skipped for table in tables), tuple(told))


class _Groups:
    """Events that several rows make; each is given to the sort when no row can add to it any more."""

    def __init__(self, runs: Runs, *, wanted: bool) -> None:
        self._runs = runs
        self._wanted = wanted
        self._open: dict[Rule, dict[tuple[str, ...], OpenGroup]] = {}

    def take(self, made: list[Made], offset: int) -> None:
        for number, one in enumerate(made if self._wanted else ()):
            if one.group is None:
                continue
            groups = self._open.setdefault(one.rule, {})
            group = groups.get(one.group)
            if group is not None:
                group.add(one)
                continue
            if one.rule.adjacent:
                self._close(groups)
            groups[one.group] = OpenGroup(one, offset + number)

    def finish(self) -> None:
        for groups in self._open.values():
            self._close(groups)

    def _close(self, groups: dict[tuple[str, ...], OpenGroup]) -> None:
        for group in groups.values():
            try:
                arrival, offset, raw = group.finish()
                self._runs.add((arrival, offset, raw, "", "", ""))
            except CellError as error:
                raw = orjson.dumps(group.first.event, default=str)
                self._runs.add((group.first.arrival_us, group.offset, raw, error.reason, error.column, error.detail))
        groups.clear()


def _items(made: list[Made], offset: int) -> list[Item]:
    """What a row made on its own, encoded; groups come later.

    Raises:
        CellError: it can't be encoded, or is too much.
    """
    if len(made) > EVENTS_PER_ROW:
        raise CellError("", "rule", f"makes {len(made)} events; at most {EVENTS_PER_ROW} of one row")
    items: list[Item] = []
    for number, one in enumerate(made):
        if one.group is None:
            items.append((one.arrival_us, offset + number, encode(one.event), "", "", ""))
        else:
            encode({**one.event, "lines": one.lines})  # what can't be encoded refuses this row, not the whole group
    return items


def row_hash(row: list[str]) -> str:
    """A hash of all cells of a row as they stand in the file; rows that are the same have the same."""
    text = "\x1f".join(row)
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


def _valid(text: str) -> str:
    """The text with what is not valid UTF-8 replaced by the sign for it."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
