"""Our own layout of blocks against the driver's, in the real engine: what is stored is the same, bit by bit."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schemas.incident_rows import (
    Alert,
    AlertDecision,
    AlertDelivery,
    Incident,
    IncidentOrder,
    IncidentSignal,
    ModelHealth,
    SeriesScore,
    Silence,
)
from schemas.rows import (
    ROW_TYPES,
    DeadLetter,
    DuplicateEvent,
    HandoffPass,
    HandoffWindow,
    Health,
    LateEvent,
    PromotionReadiness,
    Row,
    Signal,
    StockWindow,
)
from sinks.clickhouse import native
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.native import layout_of
from sinks.clickhouse.rows import EARLIEST_US, LATEST_US, block_of
from sinks.clickhouse.store import Store
from tests.clickhouse_rows import ONE_OF_EACH, T0
from tests.clickhouse_stores import ENGINE, place

#: Where a length takes another head in MessagePack, or another byte in Native.
EDGES = (0, 1, 31, 32, 127, 128, 159, 160, 191, 192, 217, 255, 256, 16_383, 16_384, 65_535, 65_536)
TEXTS = (
    st.text(max_size=8)
    | st.text("abc 0-:\t\n\0\x7f", max_size=40)
    | st.builds(lambda length, letter: letter * length, st.sampled_from(EDGES), st.sampled_from("x\u0659\ud800"))
    | st.sampled_from(["", "\u0660", "\u0649y", "Köln", "\0", "\ud800", "😀"])
)
TIMES = st.integers(EARLIEST_US - 3, EARLIEST_US + 3) | st.integers(LATEST_US - 3, LATEST_US + 3) | st.integers(-5, T0)
FLOATS = st.floats() | st.sampled_from([-0.0, math.nan, math.inf, -math.inf, 5e-324, 2**53 + 1])
SMALL, WIDE = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
WHERE = {"topic": TEXTS, "partition": st.integers(-(2**31), 2**31 - 1), "offset": st.integers(-(2**63), 2**63 - 1)}
MEASURED = ["delta", "score", "confidence", "feed_delay_max_s", "latency_ms"]
MONEY = ["value_at_risk", "margin_at_risk", "refunds_exposed", "units_affected", "units", "value", "margin"]
EXPECTED = ["units_expected", "units_there", "units_coming"]
NUMBERS = dict.fromkeys([*MEASURED, *MONEY, *EXPECTED], FLOATS)
PASSES = ["started", "completed", "over_target", "overdue", "backlog"]
TOUCHED = ["signals", "orders_affected", "customers_affected", "promises_at_risk"]
COUNTS = dict.fromkeys([*PASSES, *TOUCHED, "sequence", "attempt", "rank"], SMALL)
COUNTS |= dict.fromkeys(["series", "young", "fallback", "points", "alarms"], SMALL)
COUNTS |= dict.fromkeys(["skus", "skus_short", "skus_unknown"], SMALL)
TOTALS = dict.fromkeys(["messages", "events", "dead_letters", "bytes", "version"], WIDE)
OTHERS: dict[str, st.SearchStrategy[Any]] = {
    "latency_buckets": st.dictionaries(st.integers(-(2**31), 2**31 - 1), SMALL, max_size=4),
    "on_hand": st.dictionaries(TEXTS, FLOATS, max_size=4),
    "scope": st.dictionaries(TEXTS, TEXTS, max_size=4),
    "labels": st.dictionaries(TEXTS, TEXTS, max_size=4),
    "annotations": st.dictionaries(TEXTS, TEXTS, max_size=4),
    "values_at_risk": st.dictionaries(TEXTS, FLOATS, max_size=4),
    "evidence": st.lists(TEXTS, max_size=4),
    "candidates": st.lists(TEXTS, max_size=4),
    "incident_ids": st.lists(TEXTS, max_size=4),
    "matchers": st.lists(TEXTS, max_size=4),
    "worst_skus": st.lists(TEXTS, max_size=4),
    **dict.fromkeys(["worst_hours", "worst_expected", "worst_there"], st.lists(FLOATS, max_size=4)),
    "priority": st.integers(0, 255),
    "http_status": st.integers(-(2**31), 2**31 - 1),
    "raw": st.binary(max_size=200) | st.sampled_from([b"\xff" * length for length in EDGES]),
}
NULLABLE = st.none()
MAY_BE_NULL = {
    HandoffPass: ("started_at_us", "ended_at_us", "latency_s", "deadline_at_us"),
    HandoffWindow: ("oldest_age_s", "p50_s", "p95_s", "p99_s", "max_s"),
    StockWindow: ("available_to_promise", "value_at_risk"),
    Signal: ("closed_at_us",),
    Incident: ("closed_at_us", "first_breach_at_us", "breach_error_s", "margin_at_risk"),
    IncidentOrder: ("margin", "promised_at_us", "breach_predicted_at_us", "breach_error_s"),
    Alert: ("ends_at_us",),
    AlertDelivery: ("http_status",),
    SeriesScore: ("lower", "upper"),
    PromotionReadiness: ("score",),
}
NEVER_NULL = {DeadLetter, DuplicateEvent, Health, LateEvent, IncidentSignal, AlertDecision, Silence, ModelHealth}
#: Records whose scope is a text, not a map.
ONE_SCOPE = (HandoffPass, HandoffWindow, SeriesScore)


def _value(kind: type[Row], field: str) -> st.SearchStrategy[Any]:
    known = {**WHERE, **NUMBERS, **COUNTS, **TOTALS, **OTHERS}
    if field in MAY_BE_NULL.get(kind, ()):
        return NULLABLE | (TIMES if field.endswith("_us") else OTHERS.get(field, FLOATS))
    if field.endswith("_us"):
        return TIMES
    if field == "scope" and kind in ONE_SCOPE:
        return TEXTS
    if field == "expected" and kind is SeriesScore:
        return FLOATS
    return known.get(field, TEXTS)


def _rows(kind: type[Row]) -> st.SearchStrategy[list[Row]]:
    fields = {field: _value(kind, field) for field in kind.__struct_fields__}
    return st.lists(st.builds(kind, **fields), min_size=1, max_size=40)


@pytest.fixture(scope="module", params=ENGINE)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with place(request.param, tmp_path_factory.mktemp("native")) as there, there.open() as opened:
        migrate(opened)
        for kind in ROW_TYPES:
            for way in ("ours", "theirs"):
                opened.command(f"CREATE TABLE {way}_{kind.TABLE} AS {kind.TABLE} ENGINE = MergeTree ORDER BY tuple()")
        yield opened


def _stored(store: Store, kind: type[Row], rows: Sequence[Row], way: str) -> bytes:
    """What the engine has of `rows` when they went in that way, as it keeps it: no value is turned into Python's."""
    table = f"{way}_{kind.TABLE}"
    store.command(f"TRUNCATE TABLE {table}")
    block = block_of(kind, rows, "run-1")
    known = store._insert_into(table, block.names)
    if way == "ours":
        assert known.layout is not None
        assert known.layout.block(block.columns) is not None, "else both would go the driver's way"
    else:
        store._inserts[table, block.names] = msgspec.structs.replace(known, layout=None)
    store.insert(table, block.columns, block.names, block.token)
    return store._client.raw_query(f"SELECT * EXCEPT (written_at) FROM {table}", fmt="RowBinary")


@pytest.mark.parametrize("kind", ROW_TYPES)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_what_is_stored_is_what_the_driver_would_have_stored(
    store: Store, kind: type[Row], data: st.DataObject
) -> None:
    rows = data.draw(_rows(kind))
    assert _stored(store, kind, rows, "ours") == _stored(store, kind, rows, "theirs")


def _enough(store: Store) -> list[Row]:
    """Rows whose columns are, together, of every type that any row's are: a block is laid out type by type."""
    types: dict[type[Row], set[str]] = {}
    for row in ONE_OF_EACH:
        described = store.query(f"DESCRIBE TABLE ours_{row.TABLE}").rows
        types[type(row)] = {str(column_type) for _, column_type, *_ in described}
    chosen: list[Row] = []
    for row in sorted(ONE_OF_EACH, key=lambda row: -len(types[type(row)])):
        if types[type(row)] - set().union(*(types[type(one)] for one in chosen)):
            chosen.append(row)
    return chosen


def test_a_whole_block_is_stored_the_same(store: Store) -> None:
    for row in _enough(store):
        kind = type(row)
        version = {"version": 70_000} if "version" in kind.__struct_fields__ else {}
        rows = [row] * 66_000 + [msgspec.structs.replace(row, **version)]
        stored = _stored(store, kind, rows, "ours")
        assert stored == _stored(store, kind, rows, "theirs")
        assert len(stored) >= len(rows) * len(kind.__struct_fields__)


def _leb(number: int) -> bytes:
    return bytes([number & 127 | 128]) + _leb(number >> 7) if number > 127 else bytes([number])


@given(st.lists(TEXTS.map(lambda text: text.encode("utf-8", "replace").decode()), min_size=1, max_size=70))
@example(["x" * 31, "x" * 32])
@example(["x" * 160])
@example(["\u0660"])
@example(["x" * 65_536] * 17)
def test_texts_have_their_lengths_before_them(texts: list[str]) -> None:
    layout = layout_of(["c"], ["LowCardinality(String)"])
    assert layout is not None
    told = b"\1" + _leb(len(texts)) + b"\1c\6String"
    assert layout.block([texts]) == told + b"".join(_leb(len(text.encode())) + text.encode() for text in texts)


UNSAYABLE: list[tuple[str, object]] = [
    ("UInt32", -1),
    ("UInt32", 2**32),
    ("UInt64", -1),
    ("UInt64", 2**64),
    ("UInt64", 1.0),
    ("UInt64", None),
    ("Int64", 2**63),
    ("Float64", "1"),
    ("Float64", None),
    ("String", 1),
    ("String", None),
    ("String", "\ud800"),
    ("DateTime64(6, 'UTC')", None),
    ("DateTime64(6, 'UTC')", 1.5),
    ("Nullable(Float64)", "1"),
    ("Array(String)", "text"),
    ("Array(String)", [1]),
    ("Array(String)", None),
    ("Map(Int32, UInt32)", {2**31: 1}),
    ("Map(Int32, UInt32)", {1: -1}),
    ("Map(Int32, UInt32)", {"1": 1}),
    ("Map(LowCardinality(String), Float64)", {"a": None}),
    ("Map(LowCardinality(String), Float64)", [("a", 1.0)]),
]


@pytest.mark.parametrize(("kind", "value"), UNSAYABLE)
def test_what_does_not_fit_makes_no_block(kind: str, value: object) -> None:
    layout = layout_of(["c"], [kind])
    assert layout is not None
    fits = {"a": 1.0} if "Float64)" in kind and "Map" in kind else {1: 1} if "Map" in kind else ["a"]
    plain = fits if "Map" in kind or "Array" in kind else "a" if kind == "String" else 1
    assert layout.block([[plain]]) is not None
    assert layout.block([[plain, value]]) is None


@pytest.mark.parametrize(
    "kind", ["UUID", "Decimal(18, 2)", "LowCardinality(Nullable(String))", "Array(UUID)", "Map(String, UUID)"]
)
def test_a_type_that_is_not_known_is_the_drivers(store: Store, kind: str) -> None:
    assert layout_of(["a", "c"], ["String", kind]) is None
    store.command("CREATE TABLE amounts (a String, c Decimal(18, 2)) ENGINE = MergeTree ORDER BY a")
    try:
        store.insert("amounts", [["x"], ["1.25"]], ["a", "c"], "token")
        assert store.query("SELECT a, toString(c) FROM amounts").rows == [("x", "1.25")]
    finally:
        store.command("DROP TABLE amounts SYNC")


def test_another_order_of_bytes_is_the_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native.sys, "byteorder", "big")
    assert layout_of(["c"], ["UInt64"]) is None


def test_every_record_has_a_layout_and_every_field_a_strategy_of_its_own() -> None:
    """A new record, or a field of a new kind, is to be seen here."""
    assert set(ROW_TYPES) == {type(row) for row in ONE_OF_EACH}
    assert NEVER_NULL | set(MAY_BE_NULL) == set(ROW_TYPES)
    for kind in ROW_TYPES:
        optional = {name for name, note in kind.__annotations__.items() if "None" in str(note)}
        assert optional == set(MAY_BE_NULL.get(kind, ()))
