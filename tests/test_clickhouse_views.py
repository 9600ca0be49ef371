"""The views against a plain dictionary: whatever is written, in any order, the highest version shows."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.durations import from_us
from schemas.rows import DeadLetter, HandoffPass, HandoffWindow, Row, Signal, StockWindow
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.rows import TABLES
from sinks.clickhouse.store import Store
from sinks.clickhouse.writer import BlockWriter
from tests.clickhouse_rows import ONE_OF_EACH, T0, passes, signals, stocks, windows
from tests.clickhouse_stores import KINDS, place

KEYS = {
    HandoffPass: ("handoffs", ("handoff", "case_id", "pass_key")),
    HandoffWindow: ("handoff_latency", ("handoff", "scope_by", "scope", "window_start", "window_end")),
    StockWindow: ("stock_deltas", ("sku", "node", "window_start", "window_end")),
    Signal: ("signals", ("signal_id",)),
}
DESIGN = {
    "stock_deltas": "window_start window_end sku node on_hand delta available_to_promise value_at_risk currency",
    "handoff_latency": "window_start window_end handoff scope completed p50_s p95_s p99_s max_s "
    "backlog oldest_age_s overdue",
    "handoffs": "case_id handoff scope started_at ended_at latency_s deadline_at status",
    "signals": "signal_id detector kind scope case_id opened_at closed_at severity score confidence "
    "expected observed method explanation evidence",
    "dead_letters": "topic partition offset reason path raw seen_at",
    "late_events": "topic partition offset seen_at",
    "duplicate_events": "topic partition offset seen_at",
    "pipeline_health": "minute component",
}


@pytest.fixture(scope="module", params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with place(request.param, tmp_path_factory.mktemp("views")) as there, there.open() as opened:
        migrate(opened)
        yield opened


def _shown(row: Row, names: Sequence[str]) -> tuple[object, ...]:
    """The row as its view shows it, by plain Python."""
    table = TABLES[type(row)]
    values = {}
    for field, column, time in zip(table.fields, table.columns, table.times, strict=True):
        value = getattr(row, field)
        values[column] = from_us(value) if time and value is not None else value
    return tuple(values[name] for name in names)


def _write(store: Store, rows: Sequence[Row], cuts: Sequence[int], run: str) -> None:
    begin = 0
    for cut in [*sorted(cuts), len(rows)]:
        writer = BlockWriter(store, run)
        writer.write(rows[begin:cut])
        assert writer.flush() == []
        begin = cut


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [(HandoffPass, passes), (HandoffWindow, windows), (StockWindow, stocks), (Signal, signals)],
)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_the_highest_version_shows_in_whatever_order_rows_come(
    store: Store, kind: type[Row], strategy: st.SearchStrategy[Row], data: st.DataObject
) -> None:
    view, key = KEYS[kind]
    fields = dict(zip(TABLES[kind].columns, TABLES[kind].fields, strict=True))
    unique: dict[tuple[object, ...], Row] = {}
    for row in data.draw(st.lists(strategy, min_size=1, max_size=12), "rows"):
        unique[(*(getattr(row, fields[name]) for name in key), row.version)] = row
    rows = list(unique.values())
    latest: dict[tuple[object, ...], Row] = {}
    for row in sorted(rows, key=lambda row: row.version):
        latest[tuple(getattr(row, fields[name]) for name in key)] = row
    store.command(f"TRUNCATE TABLE {kind.TABLE}")
    again = data.draw(st.permutations(rows * 2), "order")
    cuts = data.draw(st.lists(st.integers(0, len(again)), max_size=4), "cuts")
    _write(store, again, cuts, data.draw(st.sampled_from(["run-1", "run-2"]), "run"))
    answer = store.query(f"SELECT * FROM {view}")
    expected = [_shown(row, answer.names) for row in latest.values()]
    assert sorted(map(repr, answer.rows)) == sorted(map(repr, expected))
    if data.draw(st.booleans(), "merged"):
        store.command(f"OPTIMIZE TABLE {kind.TABLE} FINAL")
        _write(store, rows, [], "run-3")
        assert sorted(map(repr, store.query(f"SELECT * FROM {view}").rows)) == sorted(map(repr, expected))


def test_a_filter_on_a_value_does_not_bring_an_old_version_back(store: Store) -> None:
    store.command("TRUNCATE TABLE handoff_passes")
    row = ONE_OF_EACH[0]
    assert isinstance(row, HandoffPass)
    _write(store, [msgspec.structs.replace(row, status="open", version=1)], [], "run-1")
    _write(store, [msgspec.structs.replace(row, status="done", version=2)], [], "run-1")
    assert store.query("SELECT count() FROM handoffs WHERE status = 'open'").rows == [(0,)]
    assert store.query(
        "SELECT count() FROM handoffs WHERE status = 'open' SETTINGS optimize_move_to_prewhere_if_final = 1"
    ).rows == [(0,)]


def test_a_row_written_by_a_later_run_is_that_runs(store: Store) -> None:
    store.command("TRUNCATE TABLE handoff_passes")
    for run in ("run-1", "run-2"):
        _write(store, [ONE_OF_EACH[0]], [], run)
    assert store.query("SELECT run_id FROM handoff_passes FINAL").rows == [("run-2",)]
    store.command("OPTIMIZE TABLE handoff_passes FINAL")
    assert store.query("SELECT run_id FROM handoff_passes").rows == [("run-2",)]


def test_rows_of_an_old_log_stay(store: Store) -> None:
    _write(store, ONE_OF_EACH, [], "run-ttl")
    for kind in TABLES:
        store.command(f"OPTIMIZE TABLE {kind.TABLE} FINAL")
        assert store.query(f"SELECT count() > 0 FROM {kind.TABLE}").rows == [(1,)], kind


@pytest.mark.parametrize("view", DESIGN)
def test_views_have_the_columns_of_the_design_each_with_a_comment(store: Store, view: str) -> None:
    answer = store.query(
        "SELECT name, comment FROM system.columns WHERE database = {db:String} AND table = {view:String}",
        {"db": store.database, "view": view},
    )
    comments = dict(answer.rows)
    assert set(DESIGN[view].split()) <= set(comments)
    assert all(comments.values()), comments


@pytest.mark.parametrize("kind", TABLES)
def test_a_records_fields_are_its_tables_columns_one_to_one(store: Store, kind: type[Row]) -> None:
    table = TABLES[kind]
    answer = store.query(
        "SELECT name, type, comment FROM system.columns "
        "WHERE database = {db:String} AND table = {t:String} ORDER BY position",
        {"db": store.database, "t": table.name},
    )
    assert tuple(row[0] for row in answer.rows) == (*table.columns, "run_id", "written_at")
    assert all(row[2] for row in answer.rows)
    for (name, type_, _), time in zip(answer.rows, table.times, strict=False):
        assert ("DateTime64(6, 'UTC')" in type_) == time, name


def test_a_filter_on_the_key_reaches_the_index(store: Store) -> None:
    """20,000 windows of 10 handoffs: one handoff and scope must not read them all."""
    store.command("TRUNCATE TABLE handoff_windows")
    store.command(
        "INSERT INTO handoff_windows (handoff, scope_by, scope, window_start, window_end, version) "
        "SELECT 'h' || toString(number % 10), 'node', toString(intDiv(number, 10) % 20), "
        "toDateTime64('2020-01-01 00:00:00', 6, 'UTC') + toIntervalMinute(number), "
        "toDateTime64('2020-01-01 00:01:00', 6, 'UTC') + toIntervalMinute(number), 1 FROM numbers(200000)"
    )
    plan = store.query(
        "EXPLAIN indexes = 1 SELECT sum(completed) FROM handoff_latency "
        "WHERE handoff = 'h3' AND scope = '7' AND window_start > '2020-02-01'"
    )
    text = "\n".join(row[0] for row in plan.rows)
    read, there = max(
        (
            tuple(map(int, line.split(":")[1].split("/")))
            for line in text.splitlines()
            if "Granules:" in line and "/" in line
        ),
        default=(0, 0),
    )
    assert there >= 20, text
    assert read <= 4, text


def test_dead_letters_keep_their_bytes(store: Store) -> None:
    raw = bytes(range(256)) * 40_000 + b"\xff\xfe\0"
    letter = DeadLetter("bytes", 0, 1, "transport", "", "not text", "", "", raw, T0)
    _write(store, [letter], [], "run-1")
    found = store.query("SELECT raw, length(raw) FROM dead_letters WHERE topic = 'bytes'", binary=True)
    assert found.rows == [(raw, len(raw))]


def test_times_out_of_range_are_clipped(store: Store) -> None:
    rows = [DeadLetter("clip", 0, n, "rule", "", "", "", "", b"", at) for n, at in enumerate((-(1 << 62), 1 << 62, T0))]
    _write(store, rows, [], "run-1")
    found = store.query("SELECT toString(seen_at), seen_at FROM dead_letters WHERE topic = 'clip' ORDER BY offset").rows
    assert [row[0] for row in found] == [
        "1900-01-01 00:00:00.000000",
        "2299-12-31 23:59:59.999999",
        "2017-11-21 00:00:00.000000",
    ]
    assert found[2][1] - found[0][1] > timedelta(days=40_000)
