"""The event rules of a mapping, compiled: from a row to the canonical events it makes.

A row is taken whole or not at all: when one of its events can't be made, `CellError` says why and none is.
Memory: for rules with `group_by`, the groups not finished (all of the table's, or one where its rows are
declared adjacent), each with its lines; otherwise nothing but bounded memories of texts.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import orjson

from schemas.adapters.columns import Columns, column_of_time, columns_of_time
from schemas.adapters.conditions import compile_when
from schemas.adapters.fields import Field, fields_of, line_fields_of
from schemas.adapters.mapping import Declaration, EventRule, Explode, FieldRule, TypeLookup, Value
from schemas.adapters.text import CellError, Cells, CellText, columns_of_template
from schemas.adapters.values import CellValue, ValueCompiler, as_value, columns_of_value, sum_writer
from schemas.durations import BEGIN_OF_TIME_US, END_OF_TIME_US

#: The columns that something is made from, each with its cell's text.
_Origins = Sequence[tuple[str, CellText]]
#: Field name, its value, and what a required one is made from (empty when it is optional).
_Slot = tuple[str, CellValue, _Origins]


class Made:
    """One event that a row made, or the part of a group's event that it gives."""

    __slots__ = ("arrival_us", "event", "group", "lines", "rule", "sums")

    def __init__(self, rule: "Rule", arrival_us: int, event: dict[str, Any]) -> None:
        self.rule = rule
        self.arrival_us = arrival_us
        self.event = event
        self.group: tuple[str, ...] | None = None
        self.lines: list[dict[str, Any]] = []
        self.sums: list[Decimal | None] = []


class Rule:
    """One `[[event]]` of a mapping, ready to be applied to rows of one table."""

    def __init__(
        self,
        declared: Declaration,
        number: int,
        columns: Columns,
        values: ValueCompiler,
        writer: Callable[[int], str],
    ) -> None:
        rule = declared.event[number]
        self._rule = rule
        self._write = writer
        self.used = False
        self._bounds = (declared.table.earliest, declared.table.latest)
        self._earliest = BEGIN_OF_TIME_US if self._bounds[0] is None else self._bounds[0]
        self._latest = END_OF_TIME_US if self._bounds[1] is None else self._bounds[1]
        self._test = compile_when(rule.when, rule.when_any, columns.text, columns.normaliser)
        time = rule.time or declared.table.time
        self._instant, self._time_column = columns.time(time)
        self._time_origins = _origins(columns, columns_of_time(time))
        recorded = rule.recorded or declared.table.recorded
        self._recorded = columns.time(recorded) if recorded else None
        skip = rule.skip_if_empty
        if skip is None:
            skip = [column_of_time(rule.time)] if rule.time else []
        self._skip = tuple(columns.text(name) for name in skip)
        self._id = columns.template(rule.id or default_id(number, exploding=rule.explode is not None))
        self._id_origins = _origins(columns, columns_of_template(rule.id))
        self._type_of = self._types(declared, columns)
        self._explode = self._exploder(rule.explode, columns, values)
        self._each, self._index = columns.index("@each"), columns.index("@index")
        self._group = tuple((name, columns.text(name)) for name in rule.group_by)
        self.adjacent = rule.adjacent
        self.sum_fields: list[tuple[str, Callable[[Cells], Decimal | None], Callable[[Decimal], Any]]] = []
        fields = self._fields(declared)
        self._slots = self._compile_slots(rule.set, fields, columns, values)
        self._source: Any = declared.mapping.source
        self._system: Any = declared.mapping.system
        self._lines: tuple[_Slot, ...] | None = None
        self._over: Callable[[Cells], list[str]] | None = None
        if rule.lines is not None:
            line_fields = line_fields_of(self._any_type(declared))
            self._lines = self._compile_slots(rule.lines.set, line_fields, columns, values)
            self._over = self._exploder(rule.lines.over, columns, values)

        self._plain = self._recorded is None and self._lines is None and not self._group

    @property
    def grouped(self) -> bool:
        """Whether several rows make one event."""
        return bool(self._group)

    @property
    def has_lines(self) -> bool:
        """Whether its events get lines."""
        return self._lines is not None

    def apply(self, cells: list[str], out: list[Made]) -> None:
        """Add what this rule makes of a row to `out`.

        Raises:
            CellError: the row can't be used.
        """
        if self._test is not None and not self._test(cells):
            return
        for get in self._skip:
            if not get(cells):
                return
        kind = self._type_of(cells)
        if not kind:
            return
        if self._explode is None:
            out.append(self._make(cells, kind))
            return
        for index, entry in enumerate(self._explode(cells), 1):
            cells[self._each], cells[self._index] = entry, str(index)
            out.append(self._make(cells, kind))

    def _make(self, cells: list[str], kind: str) -> Made:
        self.used = True
        instant = self._instant(cells)
        if instant is None:
            raise _nothing(self._time_origins, cells, f"{kind} needs a time")
        if not self._earliest <= instant < self._latest:
            check_bounds(instant, self._bounds, self._time_column, self._write)
        event_id = self._id(cells)
        if not event_id:
            raise _nothing(self._id_origins, cells, f"the id of {kind} is made from it")
        event = {
            "event_id": event_id,
            "type": kind,
            "source": self._source,
            "system": self._system,
            "occurred_at": self._write(instant),
        }
        made = Made(self, instant, event)
        for name, get, origins in self._slots:
            value = get(cells)
            if value is not None:
                event[name] = value
            elif origins:
                raise _nothing(origins, cells, f"{name} of {kind} is made from it")
        if not self._plain:
            self._complete(made, cells, kind)
        return made

    def _complete(self, made: Made, cells: list[str], kind: str) -> None:
        """What few rules have: a time of recording, lines, a group."""
        if self._recorded is not None:
            instant, column = self._recorded[0](cells), self._recorded[1]
            if instant is not None:
                check_bounds(instant, self._bounds, column, self._write)
                made.event["recorded_at"] = self._write(instant)
                made.arrival_us = instant
        if self._lines is not None:
            made.lines = self._make_lines(cells, kind, self._lines)
        if self._group:
            self._join(made, cells, kind)
        elif self._lines is not None:
            made.event["lines"] = made.lines

    def _join(self, made: Made, cells: list[str], kind: str) -> None:
        key = []
        for name, get in self._group:
            text = get(cells)
            if not text:
                raise CellError(name, "schema", f"is empty, and rows of {kind} are grouped by it")
            key.append(text)
        made.group = tuple(key)
        made.sums = [amount(cells) for _, amount, _ in self.sum_fields]

    def _make_lines(self, cells: list[str], kind: str, slots: Sequence[_Slot]) -> list[dict[str, Any]]:
        what = f"a line of {kind}"
        if self._over is None:
            return [_fill({}, slots, cells, what)]
        each, index = cells[self._each], cells[self._index]
        lines = []
        for number, entry in enumerate(self._over(cells), 1):
            cells[self._each], cells[self._index] = entry, str(number)
            lines.append(_fill({}, slots, cells, what))
        cells[self._each], cells[self._index] = each, index
        return lines

    def _types(self, declared: Declaration, columns: Columns) -> Callable[[Cells], str]:
        kind = self._rule.type
        if isinstance(kind, TypeLookup):
            get, table = columns.text(kind.column), declared.lookup[kind.lookup]
            return lambda cells: table.get(get(cells), "")
        return lambda _cells: kind

    def _any_type(self, declared: Declaration) -> str:
        """A type this rule makes; all of them have every field that it fills (lint sees to it)."""
        return types_of(declared, self._rule)[0]

    def _fields(self, declared: Declaration) -> dict[str, Field]:
        merged: dict[str, Field] = {}
        for kind in types_of(declared, self._rule):
            merged |= {name: field for name, field in fields_of(kind).items() if name not in merged or field.required}
        return merged

    def _compile_slots(
        self, rules: dict[str, FieldRule], fields: dict[str, Field], columns: Columns, values: ValueCompiler
    ) -> tuple[_Slot, ...]:
        slots = []
        for name, rule in rules.items():
            field = fields[name]
            if isinstance(rule, Value) and rule.sum:
                self.sum_fields.append((name, values.amount(rule), sum_writer(field.kind)))
                continue
            used = [] if isinstance(rule, list) else columns_of_value(as_value(rule))
            origins = _origins(columns, used) or [(name, lambda _cells: "")]
            slots.append((name, values.field(field, rule), origins if field.required else []))
        return tuple(slots)

    def _exploder(
        self, spec: str | Explode | None, columns: Columns, values: ValueCompiler
    ) -> Callable[[Cells], list[str]] | None:
        if spec is None:
            return None
        explode = Explode(column=spec) if isinstance(spec, str) else spec
        entries = columns.entries(explode.column)
        follow = values.follower([explode.link] if isinstance(explode.link, str) else explode.link)
        return lambda cells: follow(entries(cells))


def default_id(number: int, *, exploding: bool) -> str:
    """The id of a rule's events when it gives none: the file, the row, the rule, the entry of the list."""
    return f"{{@file}}.{{@row}}.{number + 1}" + ("-{@index}" if exploding else "")


def types_of(declared: Declaration, rule: EventRule) -> list[str]:
    """The event types a rule can make, each once."""
    if isinstance(rule.type, TypeLookup):
        return list(dict.fromkeys(declared.lookup.get(rule.type.lookup, {}).values()))
    return [rule.type]


def check_bounds(instant: int, bounds: tuple[int | None, int | None], column: str, write: Callable[[int], str]) -> None:
    """Refuse an instant outside of what the mapping declares plausible: `from` <= time < `to`.

    Raises:
        CellError: it is outside.
    """
    earliest, latest = bounds
    if earliest is not None and instant < earliest:
        raise CellError(column, "rule", f"{write(instant)} is before {write(earliest)}, the mapping's from")
    if latest is not None and instant >= latest:
        raise CellError(column, "rule", f"{write(instant)} is not before {write(latest)}, the mapping's to")


def _fill(out: dict[str, Any], slots: Iterable[_Slot], cells: Cells, what: str) -> dict[str, Any]:
    for name, get, origins in slots:
        value = get(cells)
        if value is not None:
            out[name] = value
        elif origins:
            raise _nothing(origins, cells, f"{name} of {what} is made from it")
    return out


def _origins(columns: Columns, names: Iterable[str]) -> _Origins:
    return [(name, columns.text(name)) for name in names]


def _nothing(origins: _Origins, cells: Cells, needed: str) -> CellError:
    """Why nothing came of these columns: one is empty, or (by a lookup, say) the first gives nothing."""
    for name, get in origins:
        if not get(cells):
            return CellError(name, "schema", f"is empty, and {needed}")
    name, get = origins[0]
    return CellError(name, "schema", f"{get(cells)!r} gives nothing, and {needed}")


class OpenGroup:
    """An event that rows still add to."""

    __slots__ = ("first", "lines", "offset", "sums")

    def __init__(self, first: Made, offset: int) -> None:
        self.first = first
        self.offset = offset
        self.lines: list[dict[str, Any]] = []
        self.sums: list[Decimal | None] = [None] * len(first.sums)
        self.add(first)

    def add(self, made: Made) -> None:
        """Add a row's lines and amounts."""
        self.lines += made.lines
        for index, amount in enumerate(made.sums):
            if amount is not None:
                self.sums[index] = amount + (self.sums[index] or 0)

    def finish(self) -> tuple[int, int, bytes]:
        """(arrival, offset, canonical JSON) of the whole event.

        Raises:
            CellError: a sum is too large for its field.
        """
        event, rule = self.first.event, self.first.rule
        for (name, _, write), total in zip(rule.sum_fields, self.sums, strict=True):
            if total is not None:
                try:
                    event[name] = write(total)
                except ValueError as error:
                    raise CellError(name, "schema", str(error)) from None
        if rule.has_lines:
            event["lines"] = self.lines
        return self.first.arrival_us, self.offset, encode(event)


def encode(event: dict[str, Any]) -> bytes:
    """Canonical JSON of an event.

    Raises:
        CellError: a text in it is not valid in the table's encoding.
    """
    try:
        return memoryview(orjson.dumps(event)).tobytes()  # what dumps gives keeps 4 kB, however short it is
    except TypeError:
        raise CellError("", "transport", "has bytes that are not valid in the table's encoding") from None
