"""Hand-written bad messages and what must be said of each, for the tests of the decoder and of the schema."""

import json
from dataclasses import dataclass
from typing import Any

_BASE: dict[str, Any] = {
    "event_id": "e-1",
    "version": 1,
    "source": "wms-eu1",
    "system": "wms",
    "channel": "web",
}
_WHEN = {"occurred_at": "2026-11-21T06:00:00Z"}
LEVEL = {**_BASE, **_WHEN, "type": "inventory.level", "sku": "S-1", "node": "DC1", "on_hand": 3}
ORDER = {
    **_BASE,
    **_WHEN,
    "type": "order.created",
    "order_id": "o-1",
    "currency": "EUR",
    "total": "19.90",
    "lines": [
        {"line_id": "1", "sku": "S-1", "qty": 1},
        {"line_id": "2", "sku": "S-2", "qty": 2, "unit_price": "9.95"},
    ],
}
CALL = {**_BASE, **_WHEN, "type": "call.completed", "interface": "erp-in", "status": "ok", "http_status": 200}
PROMOTION = {**_BASE, **_WHEN, "type": "promotion.started", "promotion_id": "p-1", "skus": ["S-1", "S-2"]}
PRICE = {**_BASE, **_WHEN, "type": "price.changed", "sku": "S-1", "price": "1.00", "currency": "EUR"}


@dataclass(frozen=True)
class Bad:
    """A message, reason and path of its fault, a part of the detail, and why JSON Schema can't say it."""

    name: str
    raw: bytes
    reason: str
    path: str
    detail: str
    not_in_schema: str = ""
    source: str = "wms-eu1"
    channel: str = "web"


def _raw(document: dict[str, Any], **changes: object) -> bytes:
    return json.dumps({**document, **changes}, ensure_ascii=False).encode()


def _without(document: dict[str, Any], *names: str) -> bytes:
    return json.dumps({key: value for key, value in document.items() if key not in names}).encode()


def _line(**changes: object) -> bytes:
    return _raw(ORDER, lines=[ORDER["lines"][0], {**ORDER["lines"][1], **changes}])


_LEVEL_RAW = json.dumps(LEVEL).encode()
_BYTES = "JSON Schema counts characters, the contract bytes"
_RANGE = "JSON Schema's date-time is RFC 3339, which has the year but not the range of UTC"

TRANSPORT = (
    Bad("empty", b"", "transport", "$", "empty message", source="", channel=""),
    Bad("blank", b" \r\n", "transport", "$", "empty message", source="", channel=""),
    Bad("truncated", _LEVEL_RAW[:-1], "transport", "$", "truncated"),
    Bad("truncated in a string", _LEVEL_RAW[:-30], "transport", "$", "truncated"),
    Bad("truncated, and wrong before that", _raw(LEVEL, system=5)[:-1], "transport", "$", "truncated"),
    Bad("two messages in one", _LEVEL_RAW * 2, "transport", "$", "trailing characters"),
    Bad("NaN", _raw(LEVEL, on_hand=float("nan")), "transport", "$", "invalid character"),
    Bad("Infinity", _raw(LEVEL, on_hand=float("-inf")), "transport", "$", "invalid character"),
    Bad("a leading zero", _LEVEL_RAW.replace(b": 3", b": 03"), "transport", "$", "invalid number"),
    Bad("single quotes", b"{'type': 'x'}", "transport", "$", "expected", source="", channel=""),
    Bad("not JSON", b"<order/>", "transport", "$", "invalid character", source="", channel=""),
    Bad("byte order mark", b"\xef\xbb\xbf" + _LEVEL_RAW, "transport", "$", "invalid character"),
    Bad(
        "UTF-16",
        json.dumps(LEVEL).encode("utf-16"),
        "transport",
        "$",
        "not UTF-8 at byte 0",
        source="",
        channel="",
    ),
    Bad("Latin-1", _raw(LEVEL, node="Köln").decode().encode("latin-1"), "transport", "$", "not UTF-8 at byte"),
    Bad(
        "Latin-1 in an ignored field",
        _raw(LEVEL, note="ö").decode().encode("latin-1"),
        "transport",
        "$",
        "not UTF-8",
    ),
    Bad("half a surrogate pair", _raw(LEVEL).replace(b"DC1", rb"\ud800"), "transport", "$", "malformed"),
    Bad("a raw control character", _raw(LEVEL).replace(b"DC1", b"D\n1"), "transport", "$", "invalid character"),
    Bad(
        "257 deep",
        _LEVEL_RAW[:-1] + b',"x":' + b"[" * 256 + b"]" * 256 + b"}",
        "transport",
        "$",
        "nested deeper than 256",
    ),
    Bad("a million deep", b"[" * 1_000_000, "transport", "$", "nested deeper than 256", source="", channel=""),
    Bad("an array's first line", b"[", "transport", "$", "truncated; a message is one event", source="", channel=""),
    Bad("an array's last line", b"]", "transport", "$", "; a message is one event: of an array", source="", channel=""),
    Bad("an element of an array", _LEVEL_RAW + b", ", "transport", "$", "; a message is one event: of an array"),
    Bad("an element after a comma", b"," + _LEVEL_RAW, "transport", "$", "; a message is one event: of an array"),
    Bad("no string for a key", b"{1: 2}", "transport", "$", "expected", source="", channel=""),
)

SCHEMA = (
    Bad("a list", b"[]", "schema", "$", "must be object, is array; a message is one event", source="", channel=""),
    Bad(
        "a list of events",
        b" [" + _LEVEL_RAW + b"]",
        "schema",
        "$",
        "must be object, is array; a message is one event: of an array of events, each is to be a message (in a file:",
    ),
    Bad("a list of numbers", b"[1, 2]", "schema", "$", "must be object, is array", source="", channel=""),
    Bad("a number", b"17", "schema", "$", "must be object, is int", source="", channel=""),
    Bad("null", b"null", "schema", "$", "must be object, is null", source="", channel=""),
    Bad("an empty object", b"{}", "schema", "$.type", "is missing", source="", channel=""),
    Bad("no type", _without(LEVEL, "type"), "schema", "$.type", "is missing"),
    Bad("type null", _raw(LEVEL, type=None), "schema", "$.type", "must be str"),
    Bad(
        "type unknown",
        _raw(LEVEL, type="inventory.lost"),
        "schema",
        "$.type",
        "'inventory.lost' is not a value",
    ),
    Bad(
        "a type that looks like a path",
        _raw(LEVEL, type="x' - at `$.sku`"),
        "schema",
        "$.type",
        "is not a value",
    ),
    Bad(
        "two types",
        b'{"type":"order.created",' + _LEVEL_RAW[1:],
        "schema",
        "$.type",
        "is not a value",
        not_in_schema="a validator sees one value per key",
    ),
    Bad("no event id", _without(LEVEL, "event_id"), "schema", "$.event_id", "is missing"),
    Bad("an empty id", _raw(LEVEL, event_id=""), "schema", "$.event_id", "length >= 1"),
    Bad("129 characters", _raw(LEVEL, sku="x" * 129), "schema", "$.sku", "length <= 128"),
    Bad(
        "130 bytes",
        _raw(LEVEL, sku="é" * 65),
        "schema",
        "$.sku",
        "at most 128 bytes of UTF-8, is 130",
        _BYTES,
    ),
    Bad(
        "130 bytes, escaped",
        json.dumps({**LEVEL, "sku": "é" * 65}).encode(),
        "schema",
        "$.sku",
        "is 130",
        _BYTES,
    ),
    Bad("130 bytes in a line", _line(sku="é" * 65), "schema", "$.lines[1].sku", "is 130", _BYTES),
    Bad(
        "130 bytes in a list",
        _raw(PROMOTION, skus=["a", "b", "é" * 65]),
        "schema",
        "$.skus[2]",
        "is 130",
        _BYTES,
    ),
    Bad("no system", _without(LEVEL, "system"), "schema", "$.system", "is missing"),
    Bad(
        "system unknown",
        _raw(LEVEL, system="fax"),
        "schema",
        "$.system",
        "'fax' is not a value of the contract",
    ),
    Bad("version 2", _raw(LEVEL, version=2), "schema", "$.version", "2 is not a value of the contract"),
    Bad("version as text", _raw(LEVEL, version="1"), "schema", "$.version", "must be int, is str"),
    Bad("no time", _without(LEVEL, "occurred_at"), "schema", "$.occurred_at", "is missing"),
    Bad(
        "time without zone",
        _raw(LEVEL, occurred_at="2026-11-21T06:00:00"),
        "schema",
        "$.occurred_at",
        "without zone",
    ),
    Bad("a date", _raw(LEVEL, occurred_at="2026-11-21"), "schema", "$.occurred_at", "not an RFC 3339 time"),
    Bad(
        "epoch seconds",
        _raw(LEVEL, occurred_at=1795240800),
        "schema",
        "$.occurred_at",
        "must be datetime, is int",
    ),
    Bad(
        "30 February",
        _raw(LEVEL, occurred_at="2026-02-30T06:00:00Z"),
        "schema",
        "$.occurred_at",
        "not an RFC 3339",
    ),
    Bad(
        "year 10000",
        _raw(LEVEL, recorded_at="10000-01-01T00:00:00Z"),
        "schema",
        "$.recorded_at",
        "not an RFC 3339",
    ),
    Bad(
        "past the last day in UTC",
        _raw(LEVEL, recorded_at="9999-12-31T23:59:59-14:00"),
        "schema",
        "$.recorded_at",
        "outside of the years 1 to 9999 in UTC",
        _RANGE,
    ),
    Bad(
        "before the first day in UTC",
        _raw(ORDER, promised_at="0001-01-01T00:00:00+14:00"),
        "schema",
        "$.promised_at",
        "outside of the years 1 to 9999 in UTC",
        _RANGE,
    ),
    Bad("quantity as text", _raw(LEVEL, on_hand="3"), "schema", "$.on_hand", "must be float, is str"),
    Bad("quantity null", _raw(LEVEL, on_hand=None), "schema", "$.on_hand", "must be float, is null"),
    Bad("quantity true", _raw(LEVEL, on_hand=True), "schema", "$.on_hand", "must be float, is bool"),
    Bad("quantity 1e308", _raw(LEVEL, on_hand=1e308), "schema", "$.on_hand", "<= 1000000000000000.0"),
    Bad("quantity 1e999", _raw(LEVEL).replace(b": 3", b": 1e999"), "schema", "$.on_hand", "out of range"),
    Bad(
        "a 400-digit quantity",
        _raw(LEVEL).replace(b": 3", b": " + b"9" * 400),
        "schema",
        "$.on_hand",
        "out of range",
    ),
    Bad("money as a number", _raw(ORDER, total=19.9), "schema", "$.total", "must be str | null, is float"),
    Bad("money with a comma", _raw(ORDER, total="19,90"), "schema", "$.total", "matching regex"),
    Bad(
        "money with a line end",
        _raw(ORDER, total="19.90\n"),
        "schema",
        "$.total",
        "matching regex",
    ),
    Bad("money in Arabic digits", _raw(ORDER, total="١٢"), "schema", "$.total", "matching regex"),
    Bad("currency in small letters", _raw(ORDER, currency="eur"), "schema", "$.currency", "matching regex"),
    Bad(
        "currency with a line end",
        _raw(PRICE, currency="EUR\n"),
        "schema",
        "$.currency",
        "matching regex",
    ),
    Bad("no lines", _without(ORDER, "lines"), "schema", "$.lines", "is missing"),
    Bad("lines as an object", _raw(ORDER, lines={}), "schema", "$.lines", "must be array, is object"),
    Bad("a line that is a number", _raw(ORDER, lines=[7]), "schema", "$.lines[0]", "must be object, is int"),
    Bad(
        "a line without quantity",
        _raw(ORDER, lines=[{"line_id": "1", "sku": "S"}]),
        "schema",
        "$.lines[0].qty",
        "is missing",
    ),
    Bad("a line's quantity as text", _line(qty="2"), "schema", "$.lines[1].qty", "must be float, is str"),
    Bad(
        "a line's price with a line end",
        _line(unit_price="1\n"),
        "schema",
        "$.lines[1].unit_price",
        "matching regex",
    ),
    Bad("an empty sku in a list", _raw(PROMOTION, skus=["a", ""]), "schema", "$.skus[1]", "length >= 1"),
    Bad("status 1000", _raw(CALL, http_status=1000), "schema", "$.http_status", "<= 999"),
    Bad(
        "status 200.5",
        _raw(CALL, http_status=200.5),
        "schema",
        "$.http_status",
        "must be int | null, is float",
    ),
    Bad(
        "status 200.0",
        _raw(CALL, http_status=200.0),
        "schema",
        "$.http_status",
        "must be int | null, is float",
        "JSON Schema takes 200.0 for an integer",
    ),
    Bad("a negative latency", _raw(CALL, latency_ms=-1), "schema", "$.latency_ms", ">= 0"),
)

BAD_MESSAGES = TRANSPORT + SCHEMA
