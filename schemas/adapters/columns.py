"""The columns of an open table: where each stands in a row, and how its cells are read.

A row is a list of the table's cells followed by one slot for each of `BUILTINS` (see text.py). Everything
compiled against one `Columns` reads rows of that shape.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from operator import itemgetter

from schemas.adapters.fields import Reader, number_normaliser, read_decimal, remembered
from schemas.adapters.lists import ListReader, list_reader
from schemas.adapters.mapping import Column, Declaration
from schemas.adapters.text import (
    BUILTINS,
    CellError,
    CellNumber,
    Cells,
    CellText,
    columns_of_template,
    compile_template,
)
from schemas.adapters.times import TimeReader, time_reader


class Columns:
    """Readers of the cells of a table with columns `names`, as a mapping declares them.

    `timestamps` are columns that the file itself types as times (Parquet): they are read as ISO 8601 as well; and
    `numbers` those that it types as numbers: they have a point, whatever the mapping says of texts.
    """

    def __init__(
        self,
        declared: Declaration,
        names: Sequence[str],
        timestamps: frozenset[str] = frozenset(),
        numbers: frozenset[str] = frozenset(),
    ) -> None:
        self._declared = declared
        self._timestamps = timestamps
        self._numbers = numbers
        self._places = {name: index for index, name in enumerate([*names, *BUILTINS])}
        self._lists: dict[str, ListReader] = {}
        self._times: dict[tuple[object, ...], TimeReader] = {}

    def index(self, name: str) -> int:
        """The place of a column or builtin in a row."""
        return self._places[name]

    def text(self, name: str) -> CellText:
        """The text of a cell; of a cell with a list, its first entry."""
        index = self._places[name]
        if not self._is_list(name):
            get: CellText = itemgetter(index)
            return get
        entries = self.entries(name)

        def first(cells: Cells) -> str:
            found = entries(cells)
            return found[0] if found else ""

        return first

    def template(self, template: str) -> CellText:
        """The text of a template for a row."""
        return compile_template(template, self.text)

    def entries(self, name: str) -> Callable[[Cells], list[str]]:
        """The entries of a cell: of a list all, of another cell the one that is there."""
        index = self._places[name]
        if not self._is_list(name):
            return lambda cells: [cells[index]] if cells[index] else []
        column = self._declared.column[name]
        reader = self._lists.get(name)
        if reader is None:
            reader = self._lists[name] = list_reader(column.separator)

        def read(cells: Cells) -> list[str]:
            try:
                return reader(cells[index])
            except ValueError as error:
                raise CellError(name, "schema", str(error)) from None

        return read

    def normaliser(self, name: str) -> Reader:
        """From a number as this column writes it to one with a point."""
        if name in self._numbers:
            return number_normaliser(".", "")
        table, column = self._declared.table, self._declared.column.get(name, Column())
        decimal = table.decimal if column.decimal is None else column.decimal
        thousands = table.thousands if column.thousands is None else column.thousands
        return number_normaliser(decimal, thousands)

    def number(self, name: str) -> CellNumber:
        """The exact number in a cell, None when it is empty."""
        get, normalise = self.text(name), self.normaliser(name)
        read = remembered(lambda text: read_decimal(normalise(text)))

        def number(cells: Cells) -> Decimal | None:
            text = get(cells)
            if not text:
                return None
            try:
                value: Decimal = read(text)
            except ValueError as error:
                raise CellError(name, "schema", str(error)) from None
            return value

        return number

    def time_reader(self, name: str) -> TimeReader:
        """The reader of the times of a column; of a template (empty name), as the table declares."""
        table, column = self._declared.table, self._declared.column.get(name, Column())
        formats = table.formats if column.formats is None else column.formats
        zone = table.zone if column.zone is None else column.zone
        if name in self._timestamps:
            formats = list(dict.fromkeys(["iso8601", *formats]))
        key = (tuple(formats), zone)
        reader = self._times.get(key)
        if reader is None:
            reader = self._times[key] = time_reader(formats, zone, table.ambiguous, table.nonexistent)
        return reader

    def time(self, spec: str) -> tuple[Callable[[Cells], int | None], str]:
        """The instant that a column (or a template over several) says, None when empty; and its column."""
        column = column_of_time(spec)
        template = "{" not in spec
        get = self.text(spec) if template else self.template(spec)
        read = self.time_reader(spec if template else _only_column(spec))

        def instant(cells: Cells) -> int | None:
            text = get(cells)
            if not text:
                return None
            try:
                return read(text)
            except ValueError as error:
                raise CellError(column, "schema", str(error)) from None

        return instant, column

    def _is_list(self, name: str) -> bool:
        column = self._declared.column.get(name)
        return column is not None and (column.list or bool(column.separator))


def columns_of_time(spec: str) -> list[str]:
    """The columns of a time: a column's name, or a template over several."""
    return columns_of_template(spec) if "{" in spec else [spec]


def column_of_time(spec: str) -> str:
    """The column that problems with a time are reported at."""
    return next(iter(columns_of_time(spec)), spec)


def _only_column(spec: str) -> str:
    """The column of the template `"{column}"`, which is read as that column is; else no column's name."""
    columns = columns_of_template(spec)
    return columns[0] if spec == f"{{{columns[0]}}}" else ""
