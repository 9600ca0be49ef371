"""An OCEL 2.0 log (JSON or SQLite) as a table, so that a mapping can say what its events are.

One row is an event. Its columns are `ocel:eid`, `ocel:activity`, `ocel:timestamp`; each of the event's attributes under
its own name; `ocel:type:T`, the list of the related objects of type T; `ocel:qualifier:Q`, those related as Q; and
`ocel:type:T:A`, attribute A of the first related object of type T that has it, as it was at the event's time.

For a mapping's links there is a row for each object, too: `ocel:oid`, `ocel:otype`, its attributes as they were last,
and the objects that it is related to. What names an object that is not in the log is a `BadRow`.

Memory: the whole log (about 1 kB an event), since an event may need any object of it.
"""

import gzip
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import orjson

from schemas.adapters.tables import BadRow
from schemas.adapters.times import time_reader
from schemas.decode import locate, unreadable
from schemas.errors import SourceError

T = TypeVar("T")

_GZIP, _SQLITE = b"\x1f\x8b", b"SQLite"
_EVENT_COLUMNS = ("ocel:eid", "ocel:activity", "ocel:timestamp")
_OBJECT_COLUMNS = ("ocel:oid", "ocel:otype")
#: Attributes of objects that were never changed are written with this time, in words or in fact.
_FROM_THE_START = -(1 << 62)

_Scalar = str | int | float | bool | None


class _Value(msgspec.Struct, frozen=True, gc=False):
    name: str
    value: _Scalar = None
    time: str = ""


class _Relation(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    object_id: str
    qualifier: str = ""


class _Object(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: str
    attributes: list[_Value] = []
    relationships: list[_Relation] = []


class _Event(_Object, frozen=True, kw_only=True):
    time: str


class _Attribute(msgspec.Struct, frozen=True):
    name: str


class _Type(msgspec.Struct, frozen=True):
    name: str
    attributes: list[_Attribute] = []


class _Log(msgspec.Struct, frozen=True, rename="camel"):
    """The document: what is declared as a whole, events and objects one by one."""

    object_types: list[_Type] = []
    event_types: list[_Type] = []
    objects: list[msgspec.Raw] = []
    events: list[msgspec.Raw] = []


class OcelTable:
    """The log in the file at `path` as a table (see schemas.adapters.tables.OpenTable).

    Raises (on making):
        SourceError: it can't be read, or is no such log.
    """

    timestamps = frozenset({"ocel:timestamp"})
    numbers: frozenset[str] = frozenset()

    def __init__(self, path: str) -> None:
        self._position = 0.0
        self._instant = time_reader(["iso8601"], "UTC")
        log = _read(path)
        self._objects: dict[str, _Object] = {}
        self._events: list[_Event | BadRow] = []
        self._bad: list[BadRow] = []
        for raw in log.objects:
            thing = _decoded(raw, _Object)
            if isinstance(thing, BadRow):
                self._bad.append(thing)
            elif thing.id in self._objects:
                self._bad.append(_bad(f"object {thing.id!r} is there twice", "$.id", bytes(raw)))
            else:
                self._objects[thing.id] = thing
        self._bad += [bad for thing in self._objects.values() if (bad := self._unknown(thing)) is not None]
        self._events = [_decoded(raw, _Event) for raw in log.events]
        self.names = self._columns(log)

    def position(self) -> float:
        """How far the running `rows` has come, 0 to 1."""
        return self._position

    def rows(self) -> Iterator[list[str] | BadRow]:
        """The events, in the log's order; before them what is no object."""
        yield from self._bad
        for number, event in enumerate(self._events, 1):
            self._position = number / len(self._events)
            yield event if isinstance(event, BadRow) else self._event_row(event)

    def link_rows(self) -> Iterator[list[str] | BadRow]:
        """The objects, then the events."""
        for thing in self._objects.values():
            yield self._object_row(thing)
        yield from self.rows()

    def _columns(self, log: _Log) -> list[str]:
        """The columns of what is declared and of what is there: a log may say less than it holds."""
        events = [event for event in self._events if isinstance(event, _Event)]
        things = list(self._objects.values())
        relations = [relation for one in [*things, *events] for relation in one.relationships]
        declared = [(kind.name, attribute.name) for kind in log.object_types for attribute in kind.attributes]
        held = [(thing.type, value.name) for thing in things for value in thing.attributes]
        return list(
            dict.fromkeys(
                [
                    *_EVENT_COLUMNS,
                    *(attribute.name for kind in log.event_types for attribute in kind.attributes),
                    *(value.name for event in events for value in event.attributes),
                    *(f"ocel:type:{kind.name}" for kind in log.object_types),
                    *(f"ocel:type:{thing.type}" for thing in things),
                    *(f"ocel:qualifier:{one.qualifier}" for one in relations if one.qualifier),
                    *(f"ocel:type:{kind}:{name}" for kind, name in (*declared, *held)),
                    *_OBJECT_COLUMNS,
                ]
            )
        )

    def _event_row(self, event: _Event) -> list[str] | BadRow:
        cells = {"ocel:eid": event.id, "ocel:activity": event.type, "ocel:timestamp": event.time}
        try:
            at = self._instant(event.time)
        except ValueError:
            at = None  # the mapping's own time refuses the row, with the column
        bad = self._unknown(event)
        if bad is not None:
            return bad
        try:
            self._relate(cells, event.relationships, at)
        except ValueError as error:
            return _bad(str(error), "$.relationships", msgspec.json.encode(event))
        cells |= {value.name: _text(value.value) for value in event.attributes if value.name not in _EVENT_COLUMNS}
        return [cells.get(name, "") for name in self.names]

    def _object_row(self, thing: _Object) -> list[str] | BadRow:
        cells = {"ocel:oid": thing.id, "ocel:otype": thing.type}
        known = [one for one in thing.relationships if one.object_id in self._objects]
        try:
            self._relate(cells, known, None)
            cells |= self._attributes(thing, None)
        except ValueError as error:
            return _bad(str(error), "$.attributes", msgspec.json.encode(thing))
        return [cells.get(name, "") for name in self.names]

    def _unknown(self, one: _Object) -> BadRow | None:
        """Why it can't be used, where it is related to what is not in the log."""
        for number, relation in enumerate(one.relationships):
            if relation.object_id not in self._objects:
                path = f"$.relationships[{number}].objectId"
                return _bad(f"{relation.object_id!r} is no object of the log", path, msgspec.json.encode(one))
        return None

    def _relate(self, cells: dict[str, str], relations: Iterable[_Relation], at: int | None) -> None:
        """Fill in the related objects, and their attributes as they were `at` (None: as they were last).

        Raises:
            ValueError: an attribute has a time that can't be read.
        """
        lists: dict[str, dict[str, None]] = {}
        for relation in relations:
            thing = self._objects[relation.object_id]
            lists.setdefault(f"ocel:type:{thing.type}", {})[thing.id] = None
            if relation.qualifier:
                lists.setdefault(f"ocel:qualifier:{relation.qualifier}", {})[thing.id] = None
            for name, text in self._attributes(thing, at).items():
                cells.setdefault(name, text)
        cells |= {name: orjson.dumps(list(ids)).decode() for name, ids in lists.items()}

    def _attributes(self, thing: _Object, at: int | None) -> dict[str, str]:
        latest: dict[str, tuple[int, str]] = {}
        for value in thing.attributes:
            try:
                since = self._instant(value.time) if value.time else _FROM_THE_START
            except ValueError as error:
                raise ValueError(f"attribute {value.name} of object {thing.id!r}: {error}") from None
            name = f"ocel:type:{thing.type}:{value.name}"
            if (at is None or since <= at) and (name not in latest or since >= latest[name][0]):
                latest[name] = (since, _text(value.value))
        return {name: text for name, (_, text) in latest.items() if text}


def _read(path: str) -> _Log:
    try:
        with Path(path).open("rb") as file:
            head = file.read(6)
        if head == _SQLITE:
            return _read_sqlite(path)
        raw = Path(path).read_bytes()
        return msgspec.json.decode(gzip.decompress(raw) if raw.startswith(_GZIP) else raw, type=_Log)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: can't be read: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"{path}: is no OCEL 2.0 log in JSON: {error}") from error
    except sqlite3.Error as error:
        raise SourceError(f"{path}: is no OCEL 2.0 log in SQLite: {error}") from error
    except IndexError as error:  # of a row, by the name of a column
        words = "a table lacks a column of the standard, or one that ocel_changed_field names"
        raise SourceError(f"{path}: is no OCEL 2.0 log in SQLite: {words}") from error


def _decoded(raw: msgspec.Raw, kind: type[T]) -> T | BadRow:
    problem = unreadable(bytes(raw), len(bytes(raw)))
    if problem:
        return BadRow(problem, [], "transport", "$", bytes(raw))
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as error:
        path, detail = locate(str(error))
        return _bad(detail, path, bytes(raw))


def _bad(detail: str, path: str, raw: bytes) -> BadRow:
    return BadRow(detail, [], "schema", path, raw)


def _text(value: _Scalar) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- SQLite ------------------------------------------------------------------------------------------------


def _read_sqlite(path: str) -> _Log:
    """The same log out of its tables: one for each type, the relations in two of their own."""
    with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as base:
        base.row_factory = sqlite3.Row
        of_events = _relations(base, "event_object", "ocel_event_id", "ocel_object_id")
        of_objects = _relations(base, "object_object", "ocel_source_id", "ocel_target_id")
        event_types, events = _of_types(base, "event", lambda rows: _events(rows, of_events))
        object_types, objects = _of_types(base, "object", lambda rows: _objects(rows, of_objects))
        return _Log(object_types, event_types, objects, events)


def _of_types(
    base: sqlite3.Connection, what: str, make: Callable[[dict[str, list[sqlite3.Row]]], list[dict[str, Any]]]
) -> tuple[list[_Type], list[msgspec.Raw]]:
    """The types of events or of objects, and what `make` makes of the rows of each type's table."""
    types, rows = [], {}
    for name, mapped in base.execute(f"SELECT ocel_type, ocel_type_map FROM {what}_map_type ORDER BY 1"):  # noqa: S608 - a name of ours
        table = f"{what}_{mapped}".replace('"', '""')
        found = base.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - quoted as a name
        columns = [one[0] for one in found.description if not one[0].startswith("ocel_")]
        types.append(_Type(name, [_Attribute(column) for column in columns]))
        rows[name] = found.fetchall()
    return types, [msgspec.Raw(msgspec.json.encode(one)) for one in make(rows)]


def _events(rows: dict[str, list[sqlite3.Row]], relations: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {
            "id": row["ocel_id"],
            "type": kind,
            "time": row["ocel_time"],
            "attributes": [{"name": name, "value": row[name]} for name in _own(row) if row[name] is not None],
            "relationships": relations.get(row["ocel_id"], []),
        }
        for kind, of_kind in rows.items()
        for row in of_kind
    ]


def _objects(rows: dict[str, list[sqlite3.Row]], relations: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row without `ocel_changed_field` says all attributes of an object, one with it says that one's new value."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for kind, of_kind in rows.items():
        for row in of_kind:
            values = found.setdefault((kind, row["ocel_id"]), [])
            changed = row["ocel_changed_field"]
            names = _own(row) if changed in (None, "") else [changed]
            values += (
                {"name": name, "value": row[name], "time": row["ocel_time"]} for name in names if row[name] is not None
            )
    return [
        {"id": key, "type": kind, "attributes": values, "relationships": relations.get(key, [])}
        for (kind, key), values in found.items()
    ]


def _own(row: sqlite3.Row) -> Sequence[str]:
    return [name for name in row.keys() if not name.startswith("ocel_")]  # noqa: SIM118 - iterating a row gives values


def _relations(base: sqlite3.Connection, table: str, source: str, target: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    query = f"SELECT {source}, {target}, ocel_qualifier FROM {table} ORDER BY rowid"  # noqa: S608 - names of ours
    for key, other, qualifier in base.execute(query):
        found.setdefault(key, []).append({"objectId": other, "qualifier": qualifier or ""})
    return found
