"""OCEL 2.0 logs through a mapping: their columns, JSON and SQLite alike, links, and what is refused."""

import csv
import gzip
import json
import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from schemas.adapters.mapping import Mapping, load_mapping, read_mapping
from schemas.adapters.tables import open_table
from schemas.adapters.tabular import MappedMessage, RefusedRow, TabularSource
from schemas.errors import SettingsError, SourceError
from tests.foreign import spoilt
from tests.ocel_logs import LOG, Log, as_json, as_packed_json, as_sqlite

#: The order of a package is only said by the objects: p1 contains i2, o1 comprises i2.
MAPPING = """
[mapping]
name = "own"
source = "log"
system = "oms"

[table]
format = "ocel2"
time = "ocel:timestamp"
zone = "UTC"

[column."ocel:type:items"]
list = true
[column."ocel:type:packages"]
list = true
[column."ocel:qualifier:order"]
list = true

[link.items_of_package]
when = { "ocel:otype" = "packages" }
key = "ocel:oid"
value = "ocel:type:items"

[link.order_of_item]
when = { "ocel:otype" = "orders" }
key = "ocel:type:items"
value = "ocel:oid"

[[event]]
type = "order.created"
id = "{ocel:eid}"
when = { "ocel:activity" = "place order" }
[event.set]
order_id = "{ocel:qualifier:order}"
total = "{ocel:type:orders:price}"
channel = "{channel}"
[event.lines]
over = "ocel:type:items"
[event.lines.set]
line_id = "{@each}"
sku = "{@each}"
qty = 1

[[event]]
type = "shipment.dispatched"
id = "{ocel:eid}"
when = { "ocel:activity" = "send package" }
[event.set]
shipment_id = "{ocel:type:packages}"
order_id = { column = "ocel:type:packages", link = ["items_of_package", "order_of_item"] }
"""


def mapping(text: str = MAPPING) -> Mapping:
    read = read_mapping(text, "own.toml")
    assert read.problems == ()
    assert read.value is not None
    return read.value


def messages(source: TabularSource) -> list[tuple[int, bytes]]:
    found = list(source.messages())
    assert all(isinstance(one, MappedMessage) for one in found), found
    return [(one.arrival_us, one.raw) for one in found]


@pytest.mark.parametrize("write", [as_json, as_packed_json, as_sqlite])
def test_a_log(write: Any, tmp_path: Path) -> None:  # noqa: ANN401 - a writer
    source = TabularSource(mapping(), write(tmp_path, LOG))
    assert [json.loads(raw) for _, raw in messages(source)] == [
        {
            "event_id": "e1",
            "type": "order.created",
            "source": "log",
            "system": "oms",
            "occurred_at": "2026-03-02T09:00:00Z",
            "order_id": "o1",
            "total": "12.5",
            "channel": "web",
            "lines": [{"line_id": "i1", "sku": "i1", "qty": 1}, {"line_id": "i2", "sku": "i2", "qty": 1}],
        },
        {
            "event_id": "e2",
            "type": "shipment.dispatched",
            "source": "log",
            "system": "oms",
            "occurred_at": "2026-03-04T10:00:00Z",
            "shipment_id": "p1",
            "order_id": "o1",
        },
    ]
    assert (source.rows_read, source.rows_skipped) == (2, 0)


def test_an_attribute_is_as_it_was_when_the_event_happened(tmp_path: Path) -> None:
    later = LOG["events"][0] | {"id": "e3", "time": "2026-03-03T00:00:00Z"}
    before = LOG["events"][0] | {"id": "e0", "time": "1969-12-31T23:59:59Z"}
    path = as_json(tmp_path, LOG | {"events": [before, LOG["events"][0], later]})
    totals = [json.loads(raw).get("total") for _, raw in messages(TabularSource(mapping(), path))]
    assert totals == [None, "12.5", "11"]


def test_the_columns_are_what_is_declared_and_what_is_there(tmp_path: Path) -> None:
    table = open_table(mapping().declared.table, as_json(tmp_path, LOG | {"objectTypes": [], "eventTypes": []}))
    assert table.names == [
        *("ocel:eid", "ocel:activity", "ocel:timestamp", "channel"),
        *("ocel:type:orders", "ocel:type:items", "ocel:type:packages"),
        *("ocel:qualifier:comprises", "ocel:qualifier:contains", "ocel:qualifier:order"),
        *("ocel:qualifier:item", "ocel:qualifier:package"),
        *("ocel:type:orders:price", "ocel:type:items:weight", "ocel:oid", "ocel:otype"),
    ]
    assert table.names == [name for name in table.names if name]
    empty = {"objectTypes": LOG["objectTypes"], "eventTypes": LOG["eventTypes"]}
    declared = open_table(mapping().declared.table, as_json(tmp_path, empty)).names
    assert set(table.names) - set(declared) == {name for name in table.names if "qualifier" in name}


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"time": "soon"}, ("schema", "ocel:timestamp", "'soon' is not a time written as iso8601")),
        ({"time": None}, ("schema", "$.time", "must be str, is null")),
        (
            {"relationships": [{"objectId": "o1"}, {"objectId": "o9", "qualifier": "order"}]},
            ("schema", "$.relationships[1].objectId", "'o9' is no object of the log"),
        ),
        (
            {"relationships": [{"objectId": "bad"}]},
            (
                "schema",
                "$.relationships",
                "attribute price of object 'bad': '?' is not a time written as iso8601",
            ),
        ),
    ],
)
def test_an_event_that_can_t_be_used_is_one_dead_letter(
    changes: Log, refused: tuple[str, str, str], tmp_path: Path
) -> None:
    bad = {"id": "bad", "type": "orders", "attributes": [{"name": "price", "time": "?", "value": 1}]}
    log = LOG | {
        "objects": [*LOG["objects"], bad],
        "events": [LOG["events"][0] | {"id": "e0"} | changes, *LOG["events"]],
    }
    found = list(TabularSource(mapping(), as_json(tmp_path, log)).messages())
    assert [isinstance(one, RefusedRow) for one in found] == [True, False, False]
    first = found[0]
    assert isinstance(first, RefusedRow)
    assert (first.reason, first.path, first.detail) == refused
    assert b"e0" in first.raw


@pytest.mark.parametrize(
    ("thing", "refused"),
    [
        ({"id": "o1", "type": "orders"}, ("$.id", "object 'o1' is there twice")),
        ({"id": "x"}, ("$.type", "is missing")),
        (
            {"id": "x", "type": "orders", "relationships": [{"objectId": "y"}]},
            ("$.relationships[0].objectId", "'y' is no object of the log"),
        ),
    ],
)
def test_an_object_that_can_t_be_used_is_one_dead_letter(thing: Log, refused: tuple[str, str], tmp_path: Path) -> None:
    path = as_json(tmp_path, LOG | {"objects": [*LOG["objects"], thing]})
    found = list(TabularSource(mapping(), path).messages())
    assert [(one.path, one.detail) for one in found if isinstance(one, RefusedRow)] == [refused]
    assert len(found) == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<log/>", "is no OCEL 2.0 log in JSON"),
        (b'{"events": 5}', "is no OCEL 2.0 log in JSON: Expected `array`"),
        (b"[" * 100_000, "is no OCEL 2.0 log in JSON"),
        (b"SQLite format 3\x00" + b"\x00" * 2_000, "is no OCEL 2.0 log in SQLite"),
        (b"\x1f\x8bnonsense", "can't be read"),
    ],
)
def test_a_file_that_is_no_log_is_said(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=words):
        TabularSource(mapping(), str(path))


def test_a_table_without_a_column_of_the_standard_is_said(tmp_path: Path) -> None:
    path = as_sqlite(tmp_path, LOG)
    with closing(sqlite3.connect(path)) as base:
        base.execute("ALTER TABLE event_SendPackage RENAME COLUMN ocel_time TO time")
        base.commit()
    with pytest.raises(SourceError, match="a table lacks a column of the standard"):
        TabularSource(mapping(), path)


def test_bytes_that_are_no_text_spoil_one_event(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    other = LOG["events"][0] | {"attributes": [{"name": "channel", "value": "shop"}]}
    text = json.dumps(LOG | {"events": [*LOG["events"], other]}).encode()
    path.write_bytes(text.replace(b'"shop"', b'"sh\x80p"'))
    found = [one for one in TabularSource(mapping(), str(path)).messages() if isinstance(one, RefusedRow)]
    assert [(one.reason, one.path, one.detail[:12]) for one in found] == [("transport", "$", "not UTF-8 at")]


@given(raw=spoilt([LOG]))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_spoilt_log_is_refused_as_a_whole_or_read_but_for_dead_letters(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_bytes(raw)
    try:
        source = TabularSource(mapping(), str(path))
    except (SourceError, SettingsError):  # no log, or one without a column that the mapping names
        return
    for message in source.messages():
        if isinstance(message, MappedMessage):
            json.loads(message.raw)
        else:
            assert message.detail
            assert message.path


def test_an_sqlite_file_read_as_csv_is_told_what_it_may_be(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r'an OCEL 2\.0 log\? set format = "ocel2"'):
        TabularSource(load_mapping("ocel"), as_sqlite(tmp_path, LOG))


@pytest.mark.parametrize("write", [as_json, as_sqlite])
def test_a_real_log_written_as_ocel_2_makes_the_events_that_it_makes_as_ocel_1(
    write: Any,  # noqa: ANN401 - a writer
    shared_data: Path,
    tmp_path: Path,
) -> None:
    """The shipped mapping `ocel` over the same rows, once as the CSV of OCEL 1 and once as a log of OCEL 2.0."""
    with gzip.open(shared_data / "ocel" / "order_management.csv.gz", "rt") as file:
        rows = [row for _, row in zip(range(2_000), csv.DictReader(file), strict=False)]
    plain = tmp_path / "rows.csv"
    with plain.open("w", newline="") as out:
        writer = csv.DictWriter(out, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    kinds = [name for name in rows[0] if name.startswith("ocel:type:")]
    own = [name for name in rows[0] if not name.startswith("ocel:")]
    objects: dict[str, Log] = {}
    events = []
    for row in rows:
        related = [(kind[10:], one) for kind in kinds for one in _ids(row[kind])]
        for kind, one in related:
            objects[one] = {"id": one, "type": kind}
        events.append(
            {
                "id": row["ocel:eid"],
                "type": row["ocel:activity"],
                "time": row["ocel:timestamp"],
                "attributes": [{"name": name, "value": row[name]} for name in own if row[name]],
                "relationships": [{"objectId": one, "qualifier": ""} for _, one in related],
            }
        )
    log = {
        "objectTypes": [{"name": kind[10:], "attributes": []} for kind in kinds],
        "eventTypes": [
            {"name": name, "attributes": [{"name": one} for one in own]}
            for name in dict.fromkeys(row["ocel:activity"] for row in rows)
        ],
        "objects": list(objects.values()),
        "events": events,
    }
    text = resources.files("schemas.adapters").joinpath("mappings", "ocel.toml").read_text("utf-8")
    as_two = mapping(text.replace('format = "csv"', 'format = "ocel2"'))
    expected = messages(TabularSource(load_mapping("ocel"), str(plain)))
    assert len(expected) > 2_000
    assert sorted(messages(TabularSource(as_two, write(tmp_path, log)))) == sorted(expected)


def _ids(cell: str) -> list[str]:
    return [one.strip().strip("'\"") for one in cell.strip("[]").split(",") if one.strip()]
