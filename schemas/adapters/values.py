"""How a mapping's field rules become values: each compiled once into a closure over a row's cells."""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from msgspec.structs import replace

from schemas.adapters.columns import Columns
from schemas.adapters.fields import (
    Field,
    Kind,
    Reader,
    read_money,
    read_number,
    read_whole,
    remembered,
    write_money,
    write_number,
)
from schemas.adapters.mapping import FieldRule, Scalar, Value
from schemas.adapters.text import (
    CellError,
    Cells,
    CellText,
    columns_of_number,
    columns_of_template,
    compile_number,
)

#: Gives the JSON value, None when there is nothing to say.
CellValue: TypeAlias = Callable[[Cells], Any]
#: Link name → key → values, in order of first appearance.
Links: TypeAlias = Mapping[str, Mapping[str, Sequence[str]]]


def scalar_text(value: Scalar) -> str:
    """A constant as a cell would hold it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_value(rule: Scalar | Value) -> Value:
    """The long form of a field rule: a text is a template, anything else a constant."""
    if isinstance(rule, Value):
        return rule
    return Value(text=rule) if isinstance(rule, str) else Value(const=rule)


def links_of(value: Value) -> list[str]:
    """The links a value is followed through, in order."""
    return [value.link] if isinstance(value.link, str) else list(value.link or ())


def columns_of_value(value: Value) -> list[str]:
    """The columns a value is made from."""
    found = [] if value.column is None else [value.column]
    found += value.columns or []
    if value.text is not None:
        found += columns_of_template(value.text)
    if value.number is not None:
        found += columns_of_number(value.number)
    return found


class ValueCompiler:
    """Compiles field rules against a table's columns and links, and the mapping's lookups."""

    def __init__(
        self,
        columns: Columns,
        lookups: Mapping[str, Mapping[str, str]],
        links: Links,
        writer: Callable[[int], str],
    ) -> None:
        self._columns = columns
        self._lookups = lookups
        self._links = links
        self._writer = writer

    def field(self, field: Field, rule: FieldRule) -> CellValue:
        """The value of `field` for a row; None when it is to be left out."""
        if isinstance(rule, list):
            constant = list(rule)
            return lambda _cells: constant
        value = as_value(rule)
        columns = columns_of_value(value)
        if field.kind == "texts":
            return self._texts(value)
        if field.kind in ("money", "number", "whole") and value.default is not None:
            default = read_constant(field.kind)(scalar_text(value.default))
            return _or_default(self.field(field, replace(value, default=None)), default)
        if field.kind != "text" and value.columns is not None and value.default is None:
            return self._first(field, value, value.columns)
        if field.kind == "number" and value.number is not None and not _has_steps(value):
            return self._computed(value.number, write_number)
        if field.kind == "money" and value.number is not None and not _has_steps(value):
            return self._computed(value.number, write_money)
        get = self.text(value)
        if field.kind == "text":
            return _text_or_none(get)
        # what a formula or a lookup gave is written with a point already, whatever its columns are written with
        looked_up = value.lookup is not None and value.link is None
        reader = self._reader(field.kind, [] if value.number is not None or looked_up else columns)
        return _read(get, reader, columns[0] if columns else field.name)

    def amount(self, value: Value) -> Callable[[Cells], Decimal | None]:
        """The number of a value that is summed over a group."""
        if value.number is not None:
            return compile_number(value.number, self._columns.number)
        assert value.column is not None
        return self._columns.number(value.column)

    def text(self, value: Value) -> CellText:
        """The text of a value: taken, extracted, looked up, followed, its letters set, or the default."""
        get = self._taken(value)
        if value.extract is not None:
            get = _extracted(get, value.extract)
        if value.lookup is not None:
            get = _looked_up(get, self._lookups[value.lookup])
        links = links_of(value)
        if links:
            follow, start = self.follower(links), get
            get = lambda cells: next(iter(follow([start(cells)])), "")  # noqa: E731 - one of a chain of closures
        if value.letters is not None:
            get = _lettered(get, value.letters)
        if value.default is not None:
            get = _defaulted(get, scalar_text(value.default))
        return get

    def follower(self, names: Sequence[str]) -> Callable[[list[str]], list[str]]:
        """From keys to all the values that the links `names` lead to, each once, in order."""
        tables = [self._links[name] for name in names]

        def follow(keys: list[str]) -> list[str]:
            for table in tables:
                keys = list(dict.fromkeys(value for key in keys for value in table.get(key, ())))
            return keys

        return follow

    def _taken(self, value: Value) -> CellText:
        if value.const is not None:
            constant = scalar_text(value.const)
            return lambda _cells: constant
        if value.number is not None:
            compute = compile_number(value.number, self._columns.number)

            def shown(cells: Cells) -> str:
                number = compute(cells)
                return "" if number is None else f"{number:f}"

            return shown
        if value.columns is not None:
            getters = [self._columns.text(name) for name in value.columns]
            return lambda cells: next((text for get in getters if (text := get(cells))), "")
        if value.column is not None:
            return self._columns.text(value.column)
        assert value.text is not None
        return self._columns.template(value.text)

    def _first(self, field: Field, value: Value, names: Sequence[str]) -> CellValue:
        """The value of the first of the columns that is not empty, read as that column is written."""
        each = [
            (self._columns.text(name), self.field(field, replace(value, columns=None, column=name))) for name in names
        ]
        return lambda cells: next((read(cells) for get, read in each if get(cells)), None)

    def _texts(self, value: Value) -> CellValue:
        """A list of texts: all entries of a column with a list, followed through links; else the one text."""
        columns = columns_of_value(value)
        whole = value.column is not None or (value.text is not None and value.text == f"{{{''.join(columns)}}}")
        if not whole or value.extract is not None or value.lookup is not None:
            get = self.text(value)
            return lambda cells: [text] if (text := get(cells)) else None
        entries, follow = self._columns.entries(columns[0]), self.follower(links_of(value))
        return lambda cells: follow(entries(cells)) or None

    def _computed(self, formula: str, write: Callable[[Decimal], Any]) -> CellValue:
        compute = compile_number(formula, self._columns.number)
        column = next(iter(columns_of_number(formula)), formula)

        def value(cells: Cells) -> Any:  # noqa: ANN401 - a JSON value
            number = compute(cells)
            try:
                return None if number is None else write(number)
            except ValueError as error:
                raise CellError(column, "schema", str(error)) from None

        return value

    def _reader(self, kind: Kind, columns: list[str]) -> Reader:
        if kind == "time":
            read_time, write = (
                self._columns.time_reader(columns[0] if len(columns) == 1 else ""),
                self._writer,
            )
            return lambda text: write(read_time(text))
        read = read_constant(kind)
        if len(columns) != 1:
            return read
        normalise = self._columns.normaliser(columns[0])
        return remembered(lambda text: read(normalise(text)))


def read_constant(kind: Kind) -> Reader:
    """The reader of a kind of field for a text with a point as decimal sign; not for times."""
    readers: dict[Kind, Reader] = {"money": read_money, "number": read_number, "whole": read_whole}
    return readers.get(kind, str)


def sum_writer(kind: Kind) -> Callable[[Decimal], Any]:
    """How the sum over a group is written into a field."""
    return write_money if kind == "money" else write_number if kind == "number" else lambda total: f"{total:f}"


def _text_or_none(get: CellText) -> CellValue:
    """None for the empty text."""
    return lambda cells: get(cells) or None


def _has_steps(value: Value) -> bool:
    return any(step is not None for step in (value.extract, value.lookup, value.link, value.letters, value.default))


def _read(get: CellText, reader: Reader, column: str) -> CellValue:
    def value(cells: Cells) -> Any:  # noqa: ANN401 - a JSON value
        text = get(cells)
        if not text:
            return None
        try:
            return reader(text)
        except ValueError as error:
            raise CellError(column, "schema", str(error)) from None

    return value


def _or_default(get: CellValue, default: object) -> CellValue:
    def value(cells: Cells) -> Any:  # noqa: ANN401 - a JSON value
        found = get(cells)
        return default if found is None else found

    return value


def _extracted(get: CellText, pattern: str) -> CellText:
    compiled = re.compile(pattern)
    group = 1 if compiled.groups else 0

    def extract(cells: Cells) -> str:
        found = compiled.search(get(cells))
        return "" if found is None else found[group] or ""

    return extract


def _looked_up(get: CellText, table: Mapping[str, str]) -> CellText:
    return lambda cells: table.get(get(cells), "")


def _lettered(get: CellText, letters: str) -> CellText:
    return (lambda cells: get(cells).upper()) if letters == "upper" else (lambda cells: get(cells).lower())


def _defaulted(get: CellText, default: str) -> CellText:
    return lambda cells: get(cells) or default
