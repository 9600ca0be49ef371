"""A small OCEL 2.0 log, and logs written in each of the standard's forms that are read."""

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

Log = dict[str, Any]

LOG: Log = {
    "objectTypes": [
        {"name": "orders", "attributes": [{"name": "price", "type": "float"}]},
        {"name": "items", "attributes": [{"name": "weight", "type": "float"}]},
        {"name": "packages", "attributes": []},
    ],
    "eventTypes": [
        {"name": "place order", "attributes": [{"name": "channel", "type": "string"}]},
        {"name": "send package", "attributes": []},
    ],
    "objects": [
        {
            "id": "o1",
            "type": "orders",
            "attributes": [
                {"name": "price", "time": "1970-01-01T00:00:00Z", "value": 12.5},
                {"name": "price", "time": "2026-03-03T00:00:00Z", "value": 11},
            ],
            "relationships": [
                {"objectId": "i1", "qualifier": "comprises"},
                {"objectId": "i2", "qualifier": "comprises"},
            ],
        },
        {"id": "i1", "type": "items", "attributes": [{"name": "weight", "time": "1970-01-01T00:00:00Z", "value": 0.4}]},
        {"id": "i2", "type": "items"},
        {"id": "p1", "type": "packages", "relationships": [{"objectId": "i2", "qualifier": "contains"}]},
    ],
    "events": [
        {
            "id": "e1",
            "type": "place order",
            "time": "2026-03-02T10:00:00+01:00",
            "attributes": [{"name": "channel", "value": "web"}],
            "relationships": [
                {"objectId": "o1", "qualifier": "order"},
                {"objectId": "i1", "qualifier": "item"},
                {"objectId": "i2", "qualifier": "item"},
            ],
        },
        {
            "id": "e2",
            "type": "send package",
            "time": "2026-03-04T10:00:00Z",
            "relationships": [{"objectId": "p1", "qualifier": "package"}],
        },
    ],
}


def as_json(folder: Path, log: Log) -> str:
    path = folder / "log.json"
    path.write_text(json.dumps(log))
    return str(path)


def as_packed_json(folder: Path, log: Log) -> str:
    path = folder / "log.json.gz"
    path.write_bytes(gzip.compress(json.dumps(log).encode()))
    return str(path)


def as_sqlite(folder: Path, log: Log) -> str:
    """The log in the standard's relational form, written plainly."""
    path = folder / "log.sqlite"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as base:
        for what in ("event", "object"):
            base.execute(f"CREATE TABLE {what} (ocel_id TEXT PRIMARY KEY, ocel_type TEXT)")
            base.execute(f"CREATE TABLE {what}_map_type (ocel_type TEXT, ocel_type_map TEXT)")
            changed = ", ocel_changed_field TEXT" if what == "object" else ""
            for kind in log[f"{what}Types"]:
                table = kind["name"].title().replace(" ", "")
                columns = "".join(f', "{attribute["name"]}"' for attribute in kind["attributes"])
                base.execute(f"INSERT INTO {what}_map_type VALUES (?, ?)", (kind["name"], table))
                base.execute(f'CREATE TABLE "{what}_{table}" (ocel_id TEXT, ocel_time TIMESTAMP{changed}{columns})')
        base.execute("CREATE TABLE event_object (ocel_event_id TEXT, ocel_object_id TEXT, ocel_qualifier TEXT)")
        base.execute("CREATE TABLE object_object (ocel_source_id TEXT, ocel_target_id TEXT, ocel_qualifier TEXT)")
        for what, table in (("event", "event_object"), ("object", "object_object")):
            for one in log[f"{what}s"]:
                base.execute(f"INSERT INTO {what} VALUES (?, ?)", (one["id"], one["type"]))
                for relation in one.get("relationships", []):
                    row = (one["id"], relation["objectId"], relation["qualifier"])
                    base.execute(f"INSERT INTO {table} VALUES (?, ?, ?)", row)
        for event in log["events"]:
            values = {"ocel_id": event["id"], "ocel_time": event["time"]}
            _insert(base, f"event_{_mapped(event)}", values | _named(event.get("attributes", [])))
        for thing in log["objects"]:
            start = "1970-01-01T00:00:00Z"
            attributes = thing.get("attributes", [])
            first = _named([one for one in attributes if one["time"] == start])
            _insert(base, f"object_{_mapped(thing)}", {"ocel_id": thing["id"], "ocel_time": start} | first)
            for one in attributes:
                if one["time"] != start:
                    values = {"ocel_id": thing["id"], "ocel_time": one["time"], "ocel_changed_field": one["name"]}
                    _insert(base, f"object_{_mapped(thing)}", values | {one["name"]: one["value"]})
        base.commit()
    return str(path)


def _mapped(one: Log) -> str:
    return str(one["type"]).title().replace(" ", "")


def _named(attributes: list[Log]) -> Log:
    return {one["name"]: one["value"] for one in attributes}


def _insert(base: sqlite3.Connection, table: str, values: Log) -> None:
    columns = ", ".join(f'"{name}"' for name in values)
    base.execute(f'INSERT INTO "{table}" ({columns}) VALUES ({", ".join("?" * len(values))})', list(values.values()))
